import { setTimeout as delay } from 'node:timers/promises';
import { FeatureStoreError } from '../../core/error.js';
import { connect } from '../address.js';
import type { Client, Run } from '../client.js';
import { UsageError } from '../errors.js';
import type { Step } from '../output.js';
import type { Call } from '../program.js';
import { finished, startRun } from '../run.js';
import { formatTable } from '../text.js';
import { type Status, streamRows } from './status.js';

const ORDERS = {
  pause: { title: 'pausing', wanted: 'pause', done: 'paused' },
  resume: { title: 'resuming', wanted: 'run', done: 'running' },
  drain: { title: 'draining', wanted: 'drain', done: 'drained' },
} as const;
type Order = keyof typeof ORDERS;
type Stream = Status['streams'][number];

const POLL_MS = 200;
// A reader whose worker died is taken over within 10 s; a shard that starts loads what it had.
const SILENT_MS = 30_000;

export default async function stream(call: Call<{ registry?: string }>): Promise<void> {
  const [order = '', source = ''] = call.args;
  if (!(order in ORDERS))
    throw new UsageError(`there is no order "${order}"`, `say one of: ${Object.keys(ORDERS).join(', ')}`);
  const client = connect(call);
  const { title, wanted, done } = ORDERS[order as Order];
  const streams = await call.out.step(`${title} ${source}`, async (step) => {
    const run = await startRun(client, '/v1/streams', { source, order });
    return untilAll(client, source, { wanted, done }, run, step);
  });
  call.out.result({ source, streams }, () => formatTable(...streamRows(streams)));
}

/** Waits until every partition has done it, as long as its reader shows itself and nobody orders anything else. */
async function untilAll(
  client: Client,
  source: string,
  { wanted, done }: { wanted: Stream['wanted']; done: Stream['state'] },
  run: string,
  step: Step,
): Promise<Stream[]> {
  let heard = performance.now();
  for (;;) {
    const status = await client.get<Status>('/v1/status');
    const streams = status.streams.filter((each) => each.source === source);
    const rest = streams.filter((each) => each.state !== done);
    if (streams.length > 0 && rest.length === 0) return streams;
    const other = streams.find((each) => each.wanted !== wanted);
    if (other)
      throw new FeatureStoreError(
        'FS_CONFLICT',
        `the stream of "${source}" got another order since: ${other.wanted}${other.reason === null ? '' : `, because ${other.reason}`}`,
        {
          fix: 'see who gave it: almanac audit --kind stream; give yours again if it should hold',
          source,
          run,
        },
      );
    const isHeard = rest.every(({ state: now }) => now === 'running' || now === 'paused');
    if (streams.length > 0 && isHeard) heard = performance.now();
    step.progress({
      done: streams.length - rest.length,
      total: streams.length,
      unit: 'partitions',
      ratePerSecond: null,
      message: rest.map((each) => `${source}/${each.partition} is ${each.state}`).join(', '),
    });
    if (performance.now() - heard > SILENT_MS) {
      const found = await client.get<Run>(`/v1/runs?id=${encodeURIComponent(run)}`);
      if (found.state !== 'running') finished(found); // says what it failed with
      throw new FeatureStoreError(
        'FS_UNAVAILABLE',
        `nobody reads "${source}": what you want is written down, not done`,
        {
          fix: 'start a worker: almanac up, almanac worker --queues stream; it is done then',
          source,
          run,
        },
      );
    }
    await delay(POLL_MS);
  }
}
