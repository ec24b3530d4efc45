/** Telling Temporal that an activity lives, and hearing from it that it should end. */
import { cancellationSignal, heartbeat } from '@temporalio/activity';

/** Called from inside every loop of an activity. Throws when it was cancelled, or its worker is shutting down for good. */
export function beat(details?: unknown): void {
  heartbeat(details);
  cancellationSignal().throwIfAborted();
}
