/**
 * What was read, counted in memory and added to Redis every second and at the end: never on a request's path, never failing one. What
 * a process counted in its last second is lost if it is killed.
 */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { readsKey } from '../core/serving-plan.js';
import { MINUTE } from '../core/time.js';
import type { Vector } from './plan.js';
import { within } from './redis.js';

const EVERY_MS = 1_000;
const DEADLINE_MS = 2_000;
/** Of one script. */
const FIELDS_AT_ONCE = 1_000;
/** For so long it is known what a sender has added, should it not have heard. */
const SENDER_SECONDS = 86_400;

// KEYS: counts, the sender's last. ARGV: number of this sending, seconds, then field and count in turn.
const ADD = `
if (tonumber(redis.call('GET', KEYS[2])) or 0) >= tonumber(ARGV[1]) then return 0 end
for i = 3, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return 1
`;

export interface Reads {
  /** A request was answered, at epoch ms. */
  count(vector: Vector, at: number): void;
  /** Now. What cannot be sent is sent later. */
  send(): Promise<void>;
  stop(): Promise<void>;
}

export function startReads(redis: Redis, environment: string, sender: string = randomUUID()): Reads {
  /** Minute → vector → requests. */
  let counted = new Map<number, Map<Vector, number>>();
  /** Field → requests: what Redis did not take yet. As long as it takes nothing, the fields of a minute are the same. */
  const waiting = new Map<string, number>();
  /** Under way, or not known to have arrived: it is sent again under its number, and added once. */
  let sending: Array<string | number> | null = null;
  let number = 0;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  async function send(): Promise<void> {
    addTo(waiting, counted);
    counted = new Map();
    const keys = [readsKey(environment), `${readsKey(environment)}:${sender}`];
    while (redis.status === 'ready' && (sending !== null || waiting.size > 0)) {
      sending ??= [++number, SENDER_SECONDS, ...take(waiting, FIELDS_AT_ONCE).flat()];
      await within(redis.eval(ADD, keys.length, ...keys, ...sending), performance.now() + DEADLINE_MS);
      sending = null;
    }
  }

  let underWay = Promise.resolve();
  /** One after the other: what is under way is one. */
  const trySend = (): Promise<void> => {
    underWay = underWay.then(send).catch(() => undefined);
    return underWay;
  };
  const schedule = (): void => {
    if (stopped) return;
    timer = setTimeout(() => void trySend().finally(schedule), EVERY_MS);
  };
  schedule();
  return {
    count(vector, at) {
      const minute = Math.floor(at / MINUTE);
      const perVector = counted.get(minute) ?? new Map<Vector, number>();
      counted.set(minute, perVector);
      perVector.set(vector, (perVector.get(vector) ?? 0) + 1);
    },
    send: trySend,
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await trySend();
    },
  };
}

function addTo(fields: Map<string, number>, counted: ReadonlyMap<number, ReadonlyMap<Vector, number>>): void {
  for (const [minute, perVector] of counted)
    for (const [{ lock, service, versionIds }, count] of perVector)
      for (const id of versionIds) {
        const field = JSON.stringify([minute, lock.model, service, id]);
        fields.set(field, (fields.get(field) ?? 0) + count);
      }
}

/** The first of them, which leave. */
function take<K, V>(map: Map<K, V>, most: number): Array<[K, V]> {
  const taken = [...map].slice(0, most);
  for (const [key] of taken) map.delete(key);
  return taken;
}
