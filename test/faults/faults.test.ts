/**
 * Killing any process in the middle of an import or a backfill, and starting it again, ends in the same values: on real servers and
 * real processes, kill -9 each time, against what an undisturbed run left.
 */
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { readGeneration } from '../../activities/offline/ticks.js';
import { isWhole } from '../../activities/online/publish.js';
import type { UnitName } from '../../cli/stack/stack.js';
import { readValues, type Values } from './values.js';
import {
  backfillsAreUnderWay,
  createWorld,
  follow,
  type Installation,
  importIsUnderWay,
  isCopying,
  retriedIn,
  startBackfills,
  startImport,
  startInstallation,
  until,
  verify,
  type World,
  whileBlocked,
  withRedis,
  workerIsWell,
} from './world.js';

// Dead and stopped workers are waited for; a hang is named by what was waited for, before this.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

let installation: Installation;
/** Of a run that met no fault. */
let wanted: Values;

/** What happens to a world while these runs are under way. */
type Fault = (world: World, runs: readonly string[]) => Promise<void>;
interface Faults {
  inImport?: Fault;
  inBackfill?: Fault;
  /** When all runs have ended. */
  repair?: (world: World) => Promise<void>;
}

/** Import and backfills in a fresh environment, with these faults; gives what is left. */
async function run(name: string, { inImport, inBackfill, repair }: Faults = {}): Promise<Values> {
  const world = await createWorld(installation, name);
  try {
    const imported = await startImport(world, installation);
    await importIsUnderWay(world);
    await Promise.all([follow(world, imported), inImport?.(world, [imported])]);
    await workerIsWell(world); // else one backfill may wait for its next attempt while the others end
    const backfilled = await startBackfills(world);
    await backfillsAreUnderWay(world);
    await Promise.all([...backfilled.map((id) => follow(world, id)), inBackfill?.(world, backfilled)]);
    await repair?.(world);
    const values = await readValues(world);
    expect(await verify(world)).toMatchObject({ different: 0 });
    return values;
  } catch (error) {
    throw new Error(`in the world "${name}", whose worker wrote\n${world.workerLog()}`, { cause: error });
  } finally {
    await world.stop();
  }
}

beforeAll(async () => {
  installation = await startInstallation(`faults${process.pid}`);
  wanted = await run('clean');
});
afterAll(() => installation?.stop());

test('a run without a fault: every outcome, in order', () => {
  expect(Object.values(wanted.outcomes).every((rows) => rows > 0)).toBe(true);
  expect(wanted.tables.disordered!.count).toBe(0);
});

const restarted =
  (unit: UnitName): Fault =>
  async (world) => {
    await world.kill(unit);
    await world.start(unit);
  };

test.concurrent('registry, then serving, killed in both', async () => {
  const both: Fault = async (world, runs) => {
    await restarted('registry')(world, runs);
    await restarted('serving')(world, runs);
  };
  expect(await run('processes', { inImport: both, inBackfill: both })).toEqual(wanted);
});

test.concurrent('worker killed in both', async () => {
  expect(await run('worker', { inImport: restarted('worker'), inBackfill: restarted('worker') })).toEqual(
    wanted,
  );
});

/** The worker dies in a transaction that waits for a lock which the test holds. */
const killedBehind =
  (lock: (world: World) => Promise<string>): Fault =>
  async (world) => {
    await whileBlocked(world, await lock(world), () => world.kill('worker'));
    await world.start('worker');
  };
/** Rows of the batch view that has most to do. */
const busiestRows = async ({ pool }: World): Promise<string> => {
  const { rows } = await pool.query<{ id: number }>(
    `select version_id as id from backfill b join backfill_chunk c on c.backfill_id = b.id
       join view_version v on v.id = b.version_id
      where view in ('user_daily', 'item_daily') and not done group by 1 order by count(*) desc limit 1`,
  );
  return `rows_${rows[0]!.id}`;
};

test.concurrent('worker killed inside its transactions', async () => {
  const values = await run('inside', {
    inImport: killedBehind(
      async () => `select pg_advisory_xact_lock(hashtext('source'), hashtext(current_schema() || '.visits'))`,
    ),
    async inBackfill(world, runs) {
      await killedBehind(async () => `lock table ${await busiestRows(world)} in exclusive mode`)(world, runs);
      await killedBehind(async () => 'lock table tick in exclusive mode')(world, runs); // publishing
    },
  });
  expect(values).toEqual(wanted);
});

/** Stopped inside a transaction, it holds what it holds; another takes over; then it goes on where it stood. */
const overtaken = async (world: World, runs: readonly string[], lock: string): Promise<void> => {
  await whileBlocked(world, lock, () => world.signal('worker', 'SIGSTOP'));
  await world.startSecondWorker();
  await until('the end of the runs', async () => {
    const described = await Promise.all(runs.map((id) => world.temporal.workflow.getHandle(id).describe()));
    return described.every(({ status }) => status.name !== 'RUNNING');
  });
  await world.signal('worker', 'SIGCONT');
  await workerIsWell(world);
};

test.concurrent('worker stopped in an import, another takes over, and it wakes up', async () => {
  const values = await run('stopped_import', {
    async inImport(world, runs) {
      // the COPY begins, and nobody sends its rows: Postgres itself would wait for ever
      const overtaking = overtaken(world, runs, 'lock table archive_visits in exclusive mode');
      await Promise.all([overtaking, until('a COPY without a client', () => isCopying(world))]);
    },
  });
  expect(values).toEqual(wanted);
});

test.concurrent('worker stopped in a backfill, another takes over, and it wakes up', async () => {
  const values = await run('stopped_backfill', {
    inBackfill: async (world, runs) =>
      overtaken(world, runs, `lock table ${await busiestRows(world)} in exclusive mode`),
  });
  expect(values).toEqual(wanted);
});

/** Away long enough for somebody to run into it. */
const away =
  (unit: 'postgres' | 'redis'): Fault =>
  async (world, runs) => {
    await world.kill(unit);
    await retriedIn(world, runs);
    await world.start(unit);
  };

test('Redis killed in both', async () => {
  const values = await run('redis', { inImport: restarted('redis'), inBackfill: away('redis') });
  expect(values).toEqual(wanted);
});

test('Postgres killed in both', async () => {
  const values = await run('postgres', { inImport: away('postgres'), inBackfill: away('postgres') });
  expect(values).toEqual(wanted);
});

test('Temporal killed in both', async () => {
  const values = await run('temporal', {
    inImport: restarted('temporal'),
    inBackfill: restarted('temporal'),
  });
  expect(values).toEqual(wanted);
});

test('Redis back empty in the middle of a backfill: it is filled again by itself', async () => {
  const values = await run('emptied', {
    inBackfill: (world) => world.emptyRedis(),
    repair: (world) =>
      until('a whole Redis', async () => {
        const generation = await readGeneration(world.pool);
        return withRedis(world, (redis) => isWhole(redis, world.env.ALMANAC_ENVIRONMENT!, generation));
      }),
  });
  expect(values).toEqual(wanted);
});
