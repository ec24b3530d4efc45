/** A plan as a person reads it. */
import { canonicalJson } from './canonical.js';
import type { FieldChange } from './difference.js';
import type { Estimate } from './impact.js';
import type { Change, Plan, ViewChange, Warning } from './plan.js';
import { formatDuration } from './time.js';

const WIDTH = 80;
const SIGNS = { create: '+', change: '~', version: '~', remove: '-' } as const;

/** Plain text of at most 80 columns. */
export function renderPlan(plan: Plan): string {
  const lines = wrap(summary(plan), '');
  if (!plan.empty) lines.push('');
  for (const change of plan.changes) {
    lines.push(...wrap(`${SIGNS[change.action]} ${title(change)}`, ''));
    if (change.kind === 'view') for (const line of consequences(change)) lines.push(...wrap(line, '    '));
    for (const field of change.fields) lines.push(...wrap(fieldText(field), '    '));
  }
  if (plan.warnings.length > 0) lines.push('', ...plan.warnings.flatMap(renderWarning));
  const rest = totals(plan);
  if (rest.length > 0) lines.push('', ...rest.flatMap((line) => wrap(line, '')));
  return `${lines.join('\n')}\n`;
}

/** The same for a pull request. */
export function renderPlanMarkdown(plan: Plan): string {
  const lines = [`### ${escaped(capital(summary(plan)))}`, ''];
  for (const change of plan.changes) {
    lines.push(`- **${WORDS[change.action]}** ${escaped(title(change))}`);
    if (change.kind === 'view') for (const line of consequences(change)) lines.push(`  - ${escaped(line)}`);
    for (const field of change.fields) lines.push(`  - ${code(fieldText(field))}`);
  }
  if (plan.warnings.length > 0) lines.push('', '**Warnings**', '');
  for (const warning of plan.warnings) lines.push(`- ${escaped(warningText(warning))}`);
  const rest = totals(plan);
  if (rest.length > 0) lines.push('', ...rest.map((line) => `${escaped(capital(line))}  `));
  return `${lines.join('\n').trimEnd()}\n`;
}

const WORDS = { create: 'create', change: 'change', version: 'new version', remove: 'remove' } as const;

function summary(plan: Plan): string {
  const on = plan.baseRevision === 0 ? 'an empty registry' : `revision ${plan.baseRevision}`;
  if (plan.empty) return `no changes on ${on}`;
  const count = (action: Change['action'], word: string): string[] => {
    const found = plan.changes.filter((change) => change.action === action).length;
    return found === 0 ? [] : [`${found} ${word}`];
  };
  const counts = [
    ...count('create', 'to create'),
    ...count('version', 'to a new version'),
    ...count('change', 'to change'),
    ...count('remove', 'to remove'),
  ];
  return `plan ${plan.hash.slice(0, 16)} on ${on}: ${counts.join(', ')}`;
}

function title(change: Change): string {
  const head = `${change.kind} ${change.name}`;
  if (change.kind === 'policy' && change.definition) return `${head}: ${change.definition.severity}`;
  if (change.kind !== 'view') return head;
  const again = change.reused ? ', as it was before' : '';
  switch (change.action) {
    case 'create':
      return `${head} v${change.version}${again}${scan(change.rowsToScan)}`;
    case 'version':
      return `${head} ${change.replaces === null ? '' : `v${change.replaces} → `}v${change.version}${again}${scan(change.rowsToScan)}`;
    case 'change':
      return `${head} v${change.version}: same values, no new version`;
    case 'remove':
      return `${head} v${change.version}`;
  }
}

/** How fresh it is to be, what it is to the version before, and who reads it. */
function consequences({ action, definition, succession, touched }: ViewChange): string[] {
  if (action === 'change') return [];
  const lines: string[] = [];
  if (definition && definition.kind !== 'onDemand') {
    const { tier, expectedEveryMs } = definition.freshness;
    lines.push(`${tier}, expected every ${formatDuration(expectedEveryMs)}`);
  }
  if (succession === 'undeclared') lines.push('undeclared: counts as breaking');
  else if (succession) lines.push(`${succession}: ${definition?.succeeds?.reason}`);
  if (action === 'create') return lines;
  const { services, models, trainingSets } = touched;
  if (services.length > 0) lines.push(`read by service ${some(services)}`);
  for (const { name, owner, version, retrain } of models)
    lines.push(`pinned by model ${name} (${owner}) to v${version}${retrain ? ': retrain' : ''}`);
  if (trainingSets.length > 0) lines.push(`in training set ${some(trainingSets)}`);
  return lines;
}

function totals({ changes, firstRead }: Plan): string[] {
  const views = changes.filter((change) => change.kind === 'view');
  const rows = views.reduce((total, change) => total + (change.rowsToScan ?? 0), 0);
  const backfill = [...(rows === 0 ? [] : [`${grouped(rows)} events to scan in all`]), ...costs(views)];
  const online = some(firstRead.map(({ view }) => view));
  return [
    ...(backfill.length === 0 ? [] : [`backfill: ${backfill.join(', ')}`]),
    ...(firstRead.length === 0
      ? []
      : [`refill of ${online}, not read until now: ${costs(firstRead).join(', ')}`]),
  ];
}

/** Of what is known the sum, and of how many views it is not. */
function costs(views: ReadonlyArray<{ estimate: Estimate }>): string[] {
  const cost = (of: keyof Estimate, name: string, said: (sum: number) => string): string[] => {
    const sum = views.reduce((total, { estimate }) => total + (estimate[of] ?? 0), 0);
    const count = views.filter(({ estimate }) => estimate[of] === null).length;
    const unknown = `unknown for ${count === 1 ? 'one view' : `${count} views`}`;
    if (sum === 0) return count === 0 ? [] : [`${name} ${unknown}`];
    return [count === 0 ? said(sum) : `${said(sum)} (${unknown})`];
  };
  return [
    ...cost(
      'minutes',
      'time',
      (minutes) => `about ${minutes < 1 ? 'a minute' : `${Math.ceil(minutes)} min`}`,
    ),
    ...cost('postgresBytes', 'bytes in Postgres', (sum) => `${bytes(sum)} in Postgres`),
    ...cost('redisBytes', 'bytes in Redis', (sum) => `${bytes(sum)} in Redis`),
  ];
}

function bytes(count: number): string {
  const power = Math.min(4, Math.floor(Math.log10(Math.max(count, 1)) / 3));
  return `${Math.round(count / 1000 ** power)} ${['B', 'kB', 'MB', 'GB', 'TB'][power]}`;
}

function some(names: readonly string[]): string {
  const more = names.length - 5;
  return more > 0 ? `${names.slice(0, 5).join(', ')} and ${more} more` : names.join(', ');
}

function scan(rows: number | null): string {
  if (rows === null) return ': a query to run';
  return rows === 0 ? '' : `: ${grouped(rows)} events to scan`;
}

function fieldText({ path, before, after }: FieldChange): string {
  if (before === undefined) return `${path}: + ${show(after)}`;
  return after === undefined ? `${path}: - ${show(before)}` : `${path}: ${show(before)} → ${show(after)}`;
}

/** Lines of at most 80 columns. */
export function renderWarning(warning: Warning): string[] {
  return wrap(`warning: ${warningText(warning)}`, '');
}

/** With the rule that is broken and what to do, where one is. */
function warningText({ path, message, code, fix }: Warning): string {
  return `${path}: ${message}${fix ? `; ${fix}` : ''}${code ? ` (${code})` : ''}`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Text in Markdown that stays what it is, on one line. */
function escaped(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, ' ').replace(/[\\`*_{}[\]<>#|~@&]/g, (sign) => `\\${sign}`);
}

/** A code span: fenced by more backticks than stand in it. */
function code(text: string): string {
  const plain = text.replace(/[\p{Cc}\p{Cf}]/gu, ' ');
  const fence = '`'.repeat(1 + Math.max(0, ...[...plain.matchAll(/`+/g)].map(([run]) => run.length)));
  return `${fence} ${plain} ${fence}`;
}

function show(value: unknown): string {
  return value === null ? 'none' : canonicalJson(value);
}

function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** Lines of at most 80 characters, broken at spaces where there are any; lines after the first stand four deeper. */
export function wrap(text: string, indent: string): string[] {
  const lines: string[] = [];
  let rest = Array.from(text.replace(/[\p{Cc}\p{Cf}]/gu, ' '));
  for (let margin = indent; ; margin = `${indent}    `) {
    const room = WIDTH - margin.length;
    if (rest.length <= room) return [...lines, margin + rest.join('')];
    const space = rest.lastIndexOf(' ', room);
    const end = space > room / 2 ? space : room;
    lines.push((margin + rest.slice(0, end).join('')).trimEnd());
    rest = rest.slice(rest[end] === ' ' ? end + 1 : end);
  }
}
