/** A plan as a person reads it. */
import { canonicalJson } from './canonical.js';
import type { FieldChange } from './difference.js';
import type { Change, Plan } from './plan.js';

const WIDTH = 80;
const SIGNS = { create: '+', change: '~', version: '~', remove: '-' } as const;

/** Plain text of at most 80 columns. */
export function renderPlan(plan: Plan): string {
  const lines = wrap(summary(plan), '');
  if (!plan.empty) lines.push('');
  for (const change of plan.changes) {
    lines.push(...wrap(title(change), ''));
    for (const field of change.fields) lines.push(...renderField(field));
  }
  if (plan.warnings.length > 0) lines.push('');
  for (const { path, message } of plan.warnings) lines.push(...wrap(`warning: ${path}: ${message}`, ''));
  const rows = plan.changes.map((change) => (change.kind === 'view' ? change.rowsToScan : 0));
  const total = rows.reduce<number>((sum, count) => sum + (count ?? 0), 0);
  if (total > 0) lines.push('', `backfill: ${grouped(total)} events to scan in all`);
  return `${lines.join('\n')}\n`;
}

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
  const head = `${SIGNS[change.action]} ${change.kind} ${change.name}`;
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

function scan(rows: number | null): string {
  if (rows === null) return ': a query to run';
  return rows === 0 ? '' : `: ${grouped(rows)} events to scan`;
}

function renderField(field: FieldChange): string[] {
  const text =
    field.before === undefined
      ? `${field.path}: + ${show(field.after)}`
      : field.after === undefined
        ? `${field.path}: - ${show(field.before)}`
        : `${field.path}: ${show(field.before)} → ${show(field.after)}`;
  return wrap(text, '    ');
}

function show(value: unknown): string {
  return value === null ? 'none' : canonicalJson(value);
}

function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** Lines of at most 80 characters, broken at spaces where there are any; lines after the first stand four deeper. */
function wrap(text: string, indent: string): string[] {
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
