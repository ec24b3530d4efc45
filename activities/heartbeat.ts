/** Telling Temporal that an activity lives, and hearing from it that it should end. */
import { cancellationSignal, heartbeat } from '@temporalio/activity';

/** Called from inside every loop of an activity. Throws when it was cancelled, or its worker is shutting down for good. */
export function beat(details?: unknown): void {
  heartbeat(details);
  cancellationSignal().throwIfAborted();
}

const BEAT_MS = 2_000;

/**
 * The work, with a beat every two seconds for as long as it takes: for work that waits for a server, whose answers have deadlines
 * of their own. A cancelled activity hears of it at its next `beat`.
 */
export async function beating<T>(work: () => Promise<T>): Promise<T> {
  const timer = setInterval(heartbeat, BEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
  }
}
