/**
 * How long it takes from an event's production until serving answers with it. For a sample of the streamed events the moment
 * before they are sent is noted, and serving is asked about their users until the event timestamp of the view has reached theirs.
 * A serving that is away, or an answer that is still of before, only makes the time longer: nothing is left out.
 */
import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { quantile } from './latency.js';

/** An event to be seen through serving. */
export interface Probe {
  /** "view:feature" whose event timestamp will say so. */
  feature: string;
  user: string;
  eventMs: number;
  /** Just before it was sent; by the clock of `Freshness`. */
  producedMs: number;
}

export interface Measured {
  probes: number;
  freshnessP50Ms: number;
  freshnessP99Ms: number;
  /** Not readable within `LIMIT_MS`. */
  unread: number;
}

/** Longer than a server takes to be started again by hand. */
export const LIMIT_MS = 5 * 60_000;
const ROWS = 100;

/** The sample and what came of it. Pure: times are given. */
export class Freshness {
  #waiting: Probe[] = [];
  readonly #times: number[] = [];
  #unread = 0;

  get isDone(): boolean {
    return this.#waiting.length === 0;
  }

  add(probe: Probe): void {
    this.#waiting.push(probe);
  }

  /** What to ask next: the oldest of each feature, each user once. */
  questions(): Array<{ feature: string; users: string[] }> {
    const users = new Map<string, Set<string>>();
    for (const { feature, user } of this.#waiting) {
      const asked = users.get(feature) ?? new Set();
      if (asked.size < ROWS) users.set(feature, asked.add(user));
    }
    return [...users].map(([feature, asked]) => ({ feature, users: [...asked] }));
  }

  /** @param seenMs by user: the event timestamp that serving answered at `nowMs` */
  answered(feature: string, seenMs: ReadonlyMap<string, number>, nowMs: number): void {
    this.#waiting = this.#waiting.filter((probe) => {
      const seen = probe.feature === feature ? seenMs.get(probe.user) : undefined;
      if (seen === undefined || seen < probe.eventMs) return true;
      this.#times.push(nowMs - probe.producedMs);
      return false;
    });
  }

  /** Those that have waited too long count as unread. */
  expire(nowMs: number): void {
    const waiting = this.#waiting.filter(({ producedMs }) => nowMs - producedMs <= LIMIT_MS);
    this.#unread += this.#waiting.length - waiting.length;
    this.#waiting = waiting;
  }

  measured(): Measured {
    const sorted = [...this.#times].sort((a, b) => a - b);
    return {
      probes: sorted.length + this.#unread,
      freshnessP50Ms: quantile(sorted, 0.5),
      freshnessP99Ms: quantile(sorted, 0.99),
      unread: this.#unread,
    };
  }
}

const PAUSE_MS = 3;
const ANSWER_MS = 2_000;
const AWAY_PAUSE_MS = 100;
const SAY_EVERY_MS = 10_000;

/** Asks, a request per feature at a time, until `isOver` says that nothing is added any more and everything is seen. */
export async function watchFreshness(options: {
  url: string;
  freshness: Freshness;
  isOver: () => boolean;
  /** Ends it at once. */
  signal: AbortSignal;
  onWait: (text: string) => void;
}): Promise<void> {
  const { url, freshness, isOver, signal, onWait } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  let saidAt = performance.now();
  try {
    while (!signal.aborted && !(isOver() && freshness.isDone)) {
      const asked = await Promise.allSettled(
        freshness.questions().map(async ({ feature, users }) => {
          const seen = await askTimestamps(url, agent, feature, users);
          freshness.answered(feature, seen, performance.now());
        }),
      );
      freshness.expire(performance.now());
      const failed = asked.find((result) => result.status === 'rejected');
      if (failed && performance.now() - saidAt > SAY_EVERY_MS) {
        saidAt = performance.now();
        onWait(
          `waiting for serving: ${failed.reason instanceof Error ? failed.reason.message : 'no answer'}`,
        );
      }
      await delay(failed ? AWAY_PAUSE_MS : PAUSE_MS);
    }
  } finally {
    agent.destroy();
  }
}

/** By user. Throws when serving does not answer. */
async function askTimestamps(
  url: string,
  agent: Agent,
  feature: string,
  users: string[],
): Promise<Map<string, number>> {
  const body = JSON.stringify({ features: [feature], entities: { user_id: users } });
  const text = await new Promise<string>((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const options = { method: 'POST', agent, headers, timeout: ANSWER_MS };
    const sent = request(`${url}/get-online-features`, options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => void chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () => {
        if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString('utf8'));
        else reject(new Error(`it answered ${response.statusCode}`));
      });
    });
    sent.once('timeout', () => sent.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`)));
    sent.once('error', reject);
    sent.end(body);
  });
  const { results } = JSON.parse(text) as { results: Array<{ event_timestamps: string[] }> };
  const timestamps = results[1]!.event_timestamps; // after the join key
  return new Map(users.map((user, i) => [user, Date.parse(timestamps[i]!)]));
}
