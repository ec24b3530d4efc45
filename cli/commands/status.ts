import { setTimeout as delay } from 'node:timers/promises';
import type { Schemas } from '../../clients/typescript/index.js';
import { FeatureStoreError } from '../../core/error.js';
import { wrap } from '../../core/render-plan.js';
import { formatDuration, WEEK } from '../../core/time.js';
import { connect } from '../address.js';
import { UsageError } from '../errors.js';
import { findRunningStack } from '../local.js';
import type { Call } from '../program.js';
import { type Cell, formatTable } from '../text.js';

export default async function status(
  call: Call<{ registry?: string; env?: boolean; name?: string; watch?: boolean }>,
): Promise<void> {
  const { options, out } = call;
  if (options.env) {
    const env = stackEnvironment(options.name);
    out.result(env, () =>
      Object.entries(env)
        .map(([name, value]) => `export ${name}=${shellQuoted(value)}\n`)
        .join(''),
    );
    return;
  }
  if (options.watch && out.json)
    throw new UsageError('--watch goes on for ever, --json is one document', 'leave out one of them');
  const client = connect(call);
  while (options.watch) {
    const now = await client.get<Status>('/v1/status');
    out.print(`\n${new Date().toISOString().slice(0, 19)}Z\n${renderStatus(now)}`);
    await delay(WATCH_MS);
  }
  const found = await client.get<Status>('/v1/status');
  out.result(found, () => renderStatus(found));
}

const WATCH_MS = 2_000;

function stackEnvironment(name: string | undefined): Record<string, string> {
  const stack = findRunningStack(name === undefined ? undefined : [name]);
  if (stack) return stack.env;
  throw new FeatureStoreError(
    'FS_CONFIG_MISSING',
    name === undefined ? 'no local stack runs' : `the local stack "${name}" does not run`,
    { fix: 'start one with "npm run up"' },
  );
}

export type Status = Schemas['GetStatusAnswer'];

export function renderStatus(status: Status): string {
  const { environment, revision, appliedBy, appliedAt, postgres, temporal } = status;
  const applied =
    revision === 0
      ? 'nothing applied yet'
      : `revision ${revision}, applied by ${appliedBy} at ${instant(appliedAt)}`;
  const parts = [`${environment}: ${applied}\n`];
  for (const [server, said] of [['postgres', postgres], ['temporal', temporal]]) // biome-ignore format: pairs
    if (said !== 'ok') parts.push(alarm(`${server}: ${said}`));
  const add = (headings: string[], rows: Cell[][], width?: number): void => {
    if (rows.length > 0) parts.push(`\n${formatTable(headings, rows, width)}`);
  };
  add(['source', 'input', 'events'], status.sources.map((each) => [each.source, each.input, each.events])); // biome-ignore format: a table
  add(
    ['import', 'state', 'done', 'shifted', 'archived', 'set aside'],
    status.imports.map(({ source, name, state, shiftMs, counts, bytesDone, bytesTotal }) => [
      source === name ? source : `${source}/${name}`,
      state,
      percent(bytesDone, bytesTotal),
      shiftMs % WEEK === 0 ? `${shiftMs / WEEK} weeks` : formatDuration(Math.abs(shiftMs)),
      counts.archived ?? 0,
      (counts.invalid ?? 0) + (counts.conflict ?? 0),
    ]),
  );
  add(...streamRows(status.streams));
  add(
    ['stream', 'archived', 'late', 'duplicate', 'conflict', 'invalid', 'too late', 'held'],
    status.streams.map(({ source, partition, counts }) => [
      `${source}/${partition}`,
      counts.archived ?? 0,
      counts.late ?? 0,
      counts.duplicate ?? 0,
      counts.conflict ?? 0,
      counts.invalid ?? 0,
      counts.tooLate ?? 0,
      counts.held ?? 0,
    ]),
    80, // the table before has the whole names
  );
  for (const { source, partition, state, reason, seenAt, owed } of status.streams) {
    if (reason !== null) parts.push(alarm(`${source}/${partition}: paused: ${reason}`));
    if (state === 'silent')
      parts.push(alarm(`${source}/${partition}: its reader was last seen at ${seenAt}`));
    if (owed > 0)
      parts.push(alarm(`${source}/${partition}: Redis missed ${owed} ranges; dual-write/… writes them`));
  }
  add(
    ['view', 'state', 'entities', 'last tick', 'last event', 'backfill'],
    status.views.map(({ view, version, entities, lastTick, lastEvent, chunksDone, chunks, ...of }) => [
      `${view}@${version}`,
      stateOf(of),
      entities,
      instant(lastTick),
      instant(lastEvent),
      chunks === null ? null : percent(chunksDone ?? 0, chunks),
    ]),
  );
  for (const { view, version, expectation, severity, what, reference, said } of status.failedExpectations)
    parts.push(alarm(`${view}@${version}: ${expectation} (${severity}), ${what} ${reference}: ${said}`));
  add(['service', 'features', 'owner'], status.services.map((each) => [each.service, each.features, each.owner])); // biome-ignore format: a table
  add(['run', 'since'], status.runs.map(({ id, startedAt }) => [id, instant(startedAt)])); // biome-ignore format: a table
  return parts.join('');
}

/** What somebody should look at. */
function alarm(text: string): string {
  return `${wrap(`!! ${text}`, '').join('\n')}\n`;
}

/** How far each partition is. */
export function streamRows(streams: Status['streams']): [string[], Cell[][]] {
  return [
    ['stream', 'state', 'offset', 'lag', '/s', 'watermark'],
    streams.map(({ source, partition, state, offset, lag, ratePerSecond, watermark }) => [
      `${source}/${partition}`,
      state,
      offset,
      lag,
      ratePerSecond,
      instant(watermark),
    ]),
  ];
}

/** Also whether it is read, where its state says otherwise. */
function stateOf({ state, online }: Pick<Status['views'][number], 'state' | 'online'>): string {
  if (state === 'live' && !online) return 'live, unread';
  return state === 'deprecated' && online ? 'deprecated, read' : state;
}

/** To the minute: seconds are for --json. */
function instant(iso: string | null): string | null {
  return iso === null ? null : `${iso.slice(0, 16)}Z`;
}

function percent(done: number, total: number): string {
  return total === 0 ? '-' : `${Math.floor((100 * done) / total)} %`;
}

function shellQuoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
