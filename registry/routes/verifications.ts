/** Everything compared with the oracle. */
import { z } from 'zod';
import { formatTimestamp } from '../../core/time.js';
import { PageQuery, pageOf, readPage } from '../page.js';
import { By, Count, Text, Timestamp } from '../requests.js';
import { assertTrainingSets, resolveStoredView, unknownName } from '../resolve.js';
import type { Pool } from '../sql.js';
import { newId, route, Started, startAsked } from './route.js';

const start = route({
  id: 'startVerification',
  method: 'POST',
  path: '/v1/verifications',
  summary: 'compare everything with the oracle → run',
  body: z.strictObject({
    entities: z.number().int().min(1).max(1_000_000).default(500),
    moments: z.number().int().min(1).max(1_000).default(3),
    seed: z.number().int().min(0).max(0xffff_ffff).default(1),
    trainingSets: z.array(Text).max(100).exactOptional(),
    views: z.array(Text).min(1).max(1_000).exactOptional(),
    by: By,
  }),
  example: { entities: 500, moments: 3, seed: 1 },
  response: Started,
  status: 202,
  async handle({ body: { by, ...body } }, { pool, runs, now }) {
    for (const view of body.views ?? []) await resolveStoredView(pool, view);
    await assertTrainingSets(pool, body.trainingSets ?? []);
    const id = newId(now());
    const what = body.views?.join(', ') ?? 'every view';
    return startAsked({ pool, runs }, by, {
      workflow: 'verify',
      id: `verify/${id}`,
      input: { id, ...body },
      summary: `verify ${body.entities} entities at ${body.moments} moments: ${what}`,
    });
  },
});

const Counts = z.record(z.string(), z.strictObject({ checked: Count, different: Count, values: Count }));
const Verification = z
  .strictObject({
    id: z.string(),
    finished: z.boolean(),
    checked: Count,
    different: Count,
    neverBackfilled: z.array(z.string()),
    owed: z.array(z.string()),
    /** Nobody reads them: they have no online records. */
    unread: z.array(z.string()),
    byPath: Counts,
    /** And path. */
    byView: z.record(z.string(), Counts),
    /** The first, whole (activities/findings.ts). */
    differences: z.array(z.record(z.string(), z.unknown())),
    /** What it was asked. */
    input: z.record(z.string(), z.unknown()),
    createdAt: Timestamp,
  })
  .meta({ id: 'Verification' });
type Verification = z.infer<typeof Verification>;
const VerificationItem = Verification.pick({
  id: true,
  finished: true,
  checked: true,
  different: true,
  createdAt: true,
});
type VerificationItem = z.infer<typeof VerificationItem>;

const list = route({
  id: 'listVerifications',
  method: 'GET',
  path: '/v1/verifications',
  summary: 'which there are',
  query: PageQuery,
  response: pageOf(VerificationItem),
  handle: ({ query }, { pool }) =>
    readPage(
      pool,
      {
        name: 'verifications',
        sql: `select id, (result ->> 'finished')::boolean as finished, checked, different, created_at as "createdAt"
                from verification`,
        key: { id: 'text' }, // begins with its time
        newestFirst: true,
      },
      query,
      (row: Omit<VerificationItem, 'createdAt'> & { createdAt: number }) => ({
        ...row,
        createdAt: formatTimestamp(row.createdAt),
      }),
    ),
});

const get = route({
  id: 'getVerification',
  method: 'GET',
  path: '/v1/verifications/{id}',
  summary: 'what was compared, and where it differs',
  params: z.strictObject({ id: z.string() }),
  response: Verification,
  handle: ({ params }, { pool }) => getVerification(pool, params.id),
});

export default [start, list, get];

async function getVerification(pool: Pool, id: string): Promise<Verification> {
  const { rows } = await pool.query<
    Pick<Verification, 'checked' | 'different'> & {
      result: Omit<Verification, 'id' | 'checked' | 'different' | 'createdAt'>;
      at: number;
    }
  >('select checked, different, result, created_at as at from verification where id = $1', [id]);
  const [found] = rows;
  if (found) {
    const { input, finished, neverBackfilled, owed, unread, byPath, byView, differences } = found.result;
    const { checked, different } = found;
    return {
      id,
      finished,
      checked,
      different,
      neverBackfilled,
      owed,
      unread,
      byPath,
      byView,
      differences,
      input,
      createdAt: formatTimestamp(found.at),
    };
  }
  const { rows: recent } = await pool.query<{ id: string }>(
    'select id from verification order by created_at desc limit 1000',
  );
  throw unknownName('verification', id, recent.map((row) => row.id)); // biome-ignore format: short
}
