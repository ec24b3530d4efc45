import { expect, test } from 'vitest';
import { importSource } from '../../workflows/import-source.js';
import { definitionsOf, orders } from './definitions.js';
import { applyDefinitions, createEnvironment, putFile } from './environment.js';

const env = await createEnvironment();
await applyDefinitions(env, definitionsOf(orders));
await env.startWorkers();

test('a file', async () => {
  const file = putFile(
    env,
    `order_id,user_id,amount,express,note,created_at,loaded_at
a,1,2.5,true,"hi, there",2026-01-01T00:00:00Z,2026-01-01T00:00:01Z
b,2,,false,,2026-01-01T00:00:02Z,
`,
  );
  const result = await env.client.workflow.execute(importSource, {
    workflowId: 'import/orders/first',
    taskQueue: env.controlQueue,
    args: [{ source: 'orders', file }],
  });
  expect(result).toMatchObject({ counts: { archived: 2 } });
});
