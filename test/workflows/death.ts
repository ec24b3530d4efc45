/**
 * A process that kills itself between two steps of a stream's reader: what it says to the stores is listened to, and nothing in the
 * product knows of it. The steps are told by their statements; where one changes its words its point is never reached, and the
 * test that waits for the death fails.
 */
import type { Redis } from 'ioredis';
import type { Pool, PoolClient } from '../../registry/sql.js';

type Step =
  | 'move'
  | 'archive'
  | 'attach'
  | 'fence'
  | 'snapshots'
  | 'progress'
  | 'commit'
  | 'record'
  | 'orders';

/** The reader has taken these steps since it began a transaction, and dies before the last of them, or when it is answered. */
const POINTS = {
  'before the transaction': { before: 'move', steps: ['archive', 'commit', 'record'] }, // of the second batch
  'before the commit': { before: 'commit', steps: ['archive'] },
  'after the commit': { after: 'commit', steps: ['archive'] },
  'in the middle of a publish': { after: 'record', steps: ['archive', 'commit'] },
  'between publish and poll': { before: 'orders', steps: ['archive', 'commit', 'record'] },
  'while snapshots are written': { before: 'commit', steps: ['fence', 'snapshots'] },
  'between snapshots and progress': { before: 'progress', steps: ['fence'] },
  'before it has attached': { before: 'commit', steps: ['attach'] },
  'when it has attached': { after: 'commit', steps: ['attach'] },
  'in the middle of catching up': { after: 'record', steps: ['attach', 'commit'] },
} as const satisfies Record<string, { before?: Step; after?: Step; steps: readonly Step[] }>;
export type Point = keyof typeof POINTS;
export const ALL_POINTS = Object.keys(POINTS) as Point[];

const STATEMENTS: ReadonlyArray<[Step, RegExp]> = [
  ['move', /^update stream_offset\s+set next_offset/],
  ['archive', /^update stream_offset\s+set arrived_ms/],
  ['attach', /^insert into stream_attached/],
  ['fence', /^select 1 from stream_offset .* for share/],
  ['snapshots', /^insert into snapshot /],
  ['progress', /^update view_progress/],
  ['commit', /^commit/],
];

/** These stores, for a reader that dies at the point. */
export function dieAt(point: Point, { pool, redis }: { pool: Pool; redis: Redis }) {
  const last: { before?: Step; after?: Step; steps: readonly Step[] } = POINTS[point];
  let taken: Step[] = [];
  const isReached = (): boolean => {
    let found = 0;
    for (const step of taken) if (step === last.steps[found]) found++;
    return found === last.steps.length;
  };
  const die = (): void => {
    process.kill(process.pid, 'SIGKILL');
  };
  const take = (step: Step, send: () => unknown): unknown => {
    if (step === last.before && isReached()) die();
    const isLast = step === last.after && isReached();
    if (step === 'move' || step === 'fence') taken = [];
    taken.push(step);
    const answer = send();
    if (isLast) void (answer as Promise<unknown>).then(die);
    return answer;
  };
  const listen = (client: PoolClient): PoolClient =>
    intercept(client, 'query', (send, given) => {
      const step = STATEMENTS.find(([, form]) => form.test(textOf(given[0])))?.[0];
      return step === undefined ? send() : take(step, send);
    });
  let calls = 0;
  return {
    pool: intercept(
      intercept(pool, 'connect', async (send) => listen(await (send() as Promise<PoolClient>))),
      'query',
      (send, given) => (/from stream_control/.test(textOf(given[0])) ? take('orders', send) : send()),
    ),
    redis: intercept(redis, 'evalsha', (send) => {
      if (last.after === 'record' && isReached() && calls++ > 0) return new Promise(() => {}); // never sent
      return take('record', send);
    }),
  };
}

const textOf = (given: unknown): string =>
  (typeof given === 'string' ? given : ((given as { text?: string } | undefined)?.text ?? '')).trim();

/** The same object, one of its methods through `around`. */
function intercept<T extends object>(
  target: T,
  method: keyof T,
  around: (send: () => unknown, given: readonly unknown[]) => unknown,
): T {
  return new Proxy(target, {
    get(_, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      const call = value.bind(target) as (...given: unknown[]) => unknown;
      return name === method ? (...given: unknown[]) => around(() => call(...given), given) : call;
    },
  });
}
