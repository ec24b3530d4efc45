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
  /** The first is under way, or not known to have arrived: it is sent again under its number, and added once. */
  const sending: Array<{ number: number; fields: string[] }> = [];
  let number = 0;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  async function send(): Promise<void> {
    const fields = fieldsOf(counted);
    counted = new Map();
    for (let i = 0; i < fields.length; i += 2 * FIELDS_AT_ONCE)
      sending.push({ number: ++number, fields: fields.slice(i, i + 2 * FIELDS_AT_ONCE) });
    const keys = [readsKey(environment), `${readsKey(environment)}:${sender}`];
    for (let [next] = sending; next && redis.status === 'ready'; [next] = sending) {
      const args = [next.number, SENDER_SECONDS, ...next.fields];
      await within(redis.eval(ADD, keys.length, ...keys, ...args), performance.now() + DEADLINE_MS);
      sending.shift();
    }
  }

  const trySend = (): Promise<void> => send().catch(() => undefined);
  const schedule = (): void => {
    if (stopped) return;
    timer = setTimeout(() => {
      underWay = trySend().finally(schedule);
    }, EVERY_MS);
  };
  let underWay = Promise.resolve();
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
      await underWay;
      await trySend();
    },
  };
}

/** Field and count in turn. */
function fieldsOf(counted: ReadonlyMap<number, ReadonlyMap<Vector, number>>): string[] {
  const fields = new Map<string, number>();
  for (const [minute, perVector] of counted)
    for (const [{ lock, service, versionIds }, count] of perVector)
      for (const id of versionIds) {
        const field = JSON.stringify([minute, lock.model, service, id]);
        fields.set(field, (fields.get(field) ?? 0) + count);
      }
  return [...fields].flatMap(([field, count]) => [field, String(count)]);
}
