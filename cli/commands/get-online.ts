/** Asks serving as a model would. With --json its answer is passed on byte for byte: no number is read on the way. */
import { LosslessNumber, parse } from 'lossless-json';
import { type Int64, parseInt64 } from '../../core/int64.js';
import { findAddress } from '../address.js';
import { type Client, createClient } from '../client.js';
import { isFeatureStoreError, UsageError } from '../errors.js';
import type { Call } from '../program.js';
import { formatTable, formatValue } from '../text.js';
import { featuresOption } from './arguments.js';

type Value = string | Int64;

export default async function getOnline(
  call: Call<{ serving?: string; entity: string[]; features?: string; model?: string }>,
): Promise<void> {
  const { options, out } = call;
  const request = onlineRequest(featuresOption(call.args[0], options.features), options.entity);
  const client = createClient({ url: findAddress('serving', options.serving, call.env) });
  const text = await requestTyped(client, request, options.model);
  out.raw(text, () => renderOnline(parseOnline(text), new Set(Object.keys(request.entities))));
}

export interface OnlineRequest {
  feature_service?: string;
  features?: string[];
  entities: Record<string, Value[]>;
}

/** Feast's shape: a column per join key or request field; serving repeats a single value for every row. */
export function onlineRequest(
  what: { service: string } | { features: string[] },
  entityOptions: readonly string[],
): OnlineRequest {
  if (entityOptions.length === 0)
    throw new UsageError(
      'no entity was given',
      'give each join key: --entity user_id=1 --entity item_id=2,3',
    );
  return {
    ...('service' in what ? { feature_service: what.service } : { features: what.features }),
    entities: Object.fromEntries(columns('--entity', entityOptions)),
  };
}

function columns(flag: string, options: readonly string[]): Map<string, Value[]> {
  const found = new Map<string, Value[]>();
  for (const option of options) {
    const at = option.indexOf('=');
    const name = option.slice(0, at);
    if (at < 1) throw new UsageError(`${flag} "${option}" names no value`, `write ${flag} user_id=1`);
    if (found.has(name))
      throw new UsageError(`${flag} ${name} was given twice`, `write ${flag} ${name}=1,2,3`);
    found.set(name, values(flag, option.slice(at + 1)));
  }
  return found;
}

/** '1,2' → [1, 2]; 'a,"7"' → ['a', '7']. */
function values(flag: string, text: string): Value[] {
  const parts = text.match(/"(?:[^"\\]|\\.)*"|[^,]+/g);
  if (!parts) throw new UsageError(`${flag} has an empty value`, `write ${flag} user_id=1`);
  return parts.map((part) => {
    if (part.startsWith('"')) return quoted(flag, part);
    if (!/^-?(0|[1-9]\d*)$/.test(part)) return part;
    const value = parseInt64(part);
    if (value !== null) return value;
    throw new UsageError(
      `${flag}: ${part} is beyond 64 bits`,
      `if it is a text, write it in double quotes: '${flag} key="${part}"'`,
    );
  });
}

function quoted(flag: string, part: string): string {
  try {
    return JSON.parse(part) as string;
  } catch {
    throw new UsageError(`${flag}: ${part} is not a text in double quotes`, 'close the quotes, as in JSON');
  }
}

/** A command line cannot say whether digits are a number; serving can: keys that it wants as text are given as text. */
async function requestTyped(client: Client, request: OnlineRequest, model?: string): Promise<string> {
  for (;;) {
    try {
      return await requestOnline(client, request, model);
    } catch (error) {
      const column = isFeatureStoreError(error) ? error.details.column : undefined;
      const values = typeof column === 'string' ? request.entities[column] : undefined;
      if (!isFeatureStoreError(error) || error.code !== 'FS_KEY_INVALID') throw error;
      if (!values?.some((value) => typeof value !== 'string')) throw error;
      request.entities[column as string] = values.map(String);
    }
  }
}

/** The body as serving wrote it. */
export async function requestOnline(client: Client, request: OnlineRequest, model?: string): Promise<string> {
  return client.text(
    '/get-online-features',
    request,
    model === undefined ? {} : { 'x-almanac-model': model },
  );
}

/** int64 values beyond 2^53 arrive whole, as bigint. */
export interface OnlineAnswer {
  metadata: { feature_names: string[]; [more: string]: unknown };
  results: Array<{ values: unknown[]; statuses: string[]; event_timestamps: string[] }>;
}

export function parseOnline(text: string): OnlineAnswer {
  return parse(text, undefined, (digits) => {
    const exact = new LosslessNumber(digits);
    return /^-?\d+$/.test(digits) && !Number.isSafeInteger(Number(digits))
      ? BigInt(digits)
      : Number(exact.value);
  }) as unknown as OnlineAnswer;
}

/** One entity reads best downwards, several as rows; whatever is not PRESENT says what it is. */
function renderOnline({ metadata, results }: OnlineAnswer, asked: ReadonlySet<string>): string {
  const names = metadata.feature_names;
  const rows = results[0]?.values.length ?? 0;
  if (rows === 1)
    return formatTable(
      ['feature', 'value', 'status', 'event timestamp'],
      results.map(({ values, statuses, event_timestamps }, i) => [
        names[i] ?? '',
        formatValue(values[0]),
        ...(asked.has(names[i] ?? '') ? [null, null] : [statuses[0] ?? '', event_timestamps[0] ?? '']),
      ]),
    );
  return formatTable(
    names,
    Array.from({ length: rows }, (_, row) =>
      results.map(({ values, statuses }) =>
        statuses[row] === 'PRESENT'
          ? formatValue(values[row])
          : `${formatValue(values[row])} (${statuses[row]})`,
      ),
    ),
  );
}
