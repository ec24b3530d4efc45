/** Environments that share a Temporal namespace, which they should not: no run of one is taken for one of the other's. */
import { beforeAll, expect, test } from 'vitest';
import { definitions } from './definitions.js';
import { type Served, serve } from './serve.js';

const one = await serve();
const other = await serve(one.temporalNamespace);
beforeAll(async () => {
  for (const each of [one, other]) await each.applyDirectly(definitions());
});

const RUN = 'refill/user_orders@1';
async function send(
  { url }: Served,
  path: string,
  body?: unknown,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${url}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}
const start = (served: Served) => send(served, '/v1/refills', { view: 'user_orders' });
const get = (served: Served) => send(served, `/v1/runs?id=${encodeURIComponent(RUN)}`);

test('a run of one is refused to the other until it has ended; then the other has one of its own', async () => {
  expect(await start(one)).toMatchObject({ status: 202, body: { run: RUN } });
  expect(await start(one)).toMatchObject({ status: 202, body: { run: RUN } }); // it goes on
  const refused = {
    status: 409,
    body: {
      code: 'FS_CONFLICT',
      title: `run ${RUN} is of environment "${one.environment}" in the same Temporal namespace`,
    },
  };
  expect(await start(other)).toMatchObject(refused);
  expect(await get(other)).toMatchObject(refused);
  expect(await send(other, '/v1/runs/updates', { id: RUN, update: 'pause' })).toMatchObject(refused);
  expect((await send(other, '/v1/status')).body.runs).toEqual([]);
  await one.finish(RUN);
  await expect.poll(async () => (await get(one)).body.state).toBe('completed');
  expect(await start(other)).toMatchObject({ status: 202 });
  expect(await get(other)).toMatchObject({ status: 200, body: { state: 'running' } });
  await other.finish(RUN);
});
