/** The TypeScript client against a running registry. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { createClient } from 'almanac/client';
import { expect, test } from 'vitest';
import { definitions } from '../registry/definitions.js';
import { serve } from '../registry/serve.js';

const { url } = await serve();
const client = createClient({ url });

/** What went well, or what did not, thrown. */
function given<T>({ data, error }: { data?: T; error?: unknown }): T {
  if (data === undefined) throw new Error(JSON.stringify(error));
  return data;
}

test('plan, apply, read', async () => {
  const plan = given(await client.POST('/v1/plan', { body: { definitions: definitions() } }));
  expect(plan.changes.map(({ name }) => name)).toContain('user_orders');
  const { run } = given(
    await client.POST('/v1/apply', { body: { definitions: definitions(), planHash: plan.hash, by: 'ada' } }),
  );
  for (;;) {
    const { state } = given(await client.GET('/v1/runs', { params: { query: { id: run } } }));
    if (state === 'completed') break;
    expect(state).toBe('running');
  }
  const { revision, definitions: applied } = given(await client.GET('/v1/definitions'));
  expect([revision, applied.views.map(({ name }) => name)]).toEqual([
    1,
    ['user_now', 'user_orders', 'user_rank'],
  ]);
});

test('a list, page by page', async () => {
  const names: string[] = [];
  let after: string | undefined;
  do {
    const query = { limit: 1, ...(after !== undefined && { after }) };
    const page = given(await client.GET('/v1/versions', { params: { query } }));
    names.push(...page.items.map(({ view, version }) => `${view}@${version}`));
    after = page.next ?? undefined;
  } while (after !== undefined);
  expect(names).toEqual(['user_now@1', 'user_orders@1', 'user_rank@1']);
});

test('a path with a parameter, and a problem', async () => {
  const of = (view: string) => client.GET('/v1/views/{view}/progress', { params: { path: { view } } });
  expect(given(await of('user_orders@1'))).toMatchObject({ version: 1, rows: 0 });
  const { error, response } = await of('user_order');
  expect([response.status, error?.code, error?.fix]).toEqual([
    404,
    'FS_NOT_FOUND',
    'did you mean "user_orders"?',
  ]);
});

test('a file', async () => {
  const { sha256, bytes } = given(
    await client.POST('/v1/files', {
      body: new Blob(['a,b\n1,2\n']),
      bodySerializer: (body) => body,
      headers: { 'content-type': 'application/octet-stream' },
    }),
  );
  expect([sha256.length, bytes]).toEqual([64, 8]);
});

test('a registry that does not answer', async () => {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const asked = createClient({ url: `http://127.0.0.1:${port}`, deadlineMs: 1 }).GET('/v1/status');
  await expect(asked).rejects.toMatchObject({ name: 'TimeoutError' });
  for (const socket of sockets) socket.destroy();
  silent.close();
});
