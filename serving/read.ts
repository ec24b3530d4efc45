/**
 * The read path: request → keys → one read → decode → judge → answer. Each arrow is a function below, in this order.
 * One request has one plan, one moment and one round trip to Redis, whatever the number of views, entities and rows. A missing or
 * old value is a status, never an error; a record that cannot be read costs its own values and no others.
 */

import type { Redis } from 'ioredis';
import { jsonPointer, valueEncoder, wireTimestamp } from '../core/codec/json.js';
import { encodeKey, onlineKey } from '../core/codec/key.js';
import type { Entity, ScalarType } from '../core/definition.js';
import { FeatureStoreError } from '../core/error.js';
import type { Value } from '../core/event.js';
import { INT64_RANGE, isInt64 } from '../core/int64.js';
import { isCanary } from '../core/lock.js';
import { nearest } from '../core/nearest.js';
import { generationKey, onlineSetKey, progressKey } from '../core/serving-plan.js';
import { parseTimestamp } from '../core/time.js';
import { failed, type Judged, judge, type Status, tickAt } from '../core/vector.js';
import {
  type CompiledLock,
  type CompiledModel,
  type CompiledPlan,
  type StoredReader,
  type Vector,
  vectorOf,
} from './plan.js';
import { generationProblem, notReady } from './plan-source.js';
import { deadlinePassed, type OnlineData, readOnline } from './redis.js';
import { invalid, LIMITS, type OnlineRequest, tooLarge } from './request.js';

export interface ReadContext {
  redis: Redis;
  environment: string;
  plan: CompiledPlan;
  /** Whose locks answer. */
  model: CompiledModel;
  /** The moment of the request: epoch ms. */
  at: number;
  /** When the answer must be ready: performance.now(). */
  deadline: number;
  /** Told once per read of Redis. */
  onRedisRead?: (milliseconds: number) => void;
}

export interface Answer {
  /** The response, as JSON text. */
  body: string;
  /** How many values each view answered with each status; repeated rows count once. */
  counts: ReadonlyMap<string, ReadonlyMap<Status, number>>;
  /** What answered. */
  vector: Vector;
}

/** Null: the plan reads a version whose records are not kept any more, so a newer plan was published. */
export async function readFeatures(request: OnlineRequest, context: ReadContext): Promise<Answer | null> {
  const vector = vectorOf(chooseLock(context.model, request), request);
  const inputs = checkInputs(vector, request);
  const keys = collectKeys(vector, inputs, context.environment);
  const data = await fetchRecords(vector, keys, context);
  if (!data.kept) return null;
  const stored = decode(vector, keys, data, context);
  const computed = computeOnDemand(vector, inputs, keys, stored, context);
  return assemble(vector, request, context.plan, { inputs, keys, stored, computed });
}

/** By the first entity that the live lock reads, in the first row: one lock for the whole request. */
function chooseLock({ live, canary }: CompiledModel, request: OnlineRequest): CompiledLock {
  if (canary === null) return live;
  const [group] = vectorOf(live, request).groups;
  const key = group && request.rows > 0 ? firstKey(group.entity, request) : null;
  return key !== null && isCanary(live.model, key, canary.share) ? canary.lock : live;
}

/** null: it is not as it should be, which is refused later, with the place. */
function firstKey(entity: Entity, { columns }: OnlineRequest): Uint8Array | null {
  try {
    return encodeKey(
      entity,
      entity.keys.map(({ name }) => columns.get(name)?.[0] ?? null),
    );
  } catch {
    return null;
  }
}

/** Values by name, checked and converted: join keys and request fields. */
interface Inputs {
  rows: number;
  columns: ReadonlyMap<string, readonly Value[]>;
}

function checkInputs(vector: Vector, { columns, rows }: OnlineRequest): Inputs {
  const wanted = new Set([...vector.joinKeys.keys(), ...vector.requestFields.keys()]);
  for (const name of columns.keys())
    if (!wanted.has(name)) {
      const near = nearest(name, [...wanted]);
      invalid(
        ['entities', name],
        'none of the features asked for needs this',
        near === null ? `give only ${[...wanted].join(', ')}` : `did you mean "${near}"?`,
      );
    }
  for (const name of wanted)
    if (!columns.has(name)) {
      const kind = vector.joinKeys.has(name) ? `join key "${name}"` : `request field "${name}"`;
      invalid(['entities'], `the ${kind} is missing`, `give "${name}": [value, ...] in entities`);
    }
  if (rows * vector.columns.length > LIMITS.values)
    tooLarge(
      [],
      `${rows} rows of ${vector.columns.length} features, the limit is ${LIMITS.values} values`,
      'ask for fewer rows or features per request',
    );
  const checked = new Map<string, readonly Value[]>();
  for (const [name, values] of columns) {
    const type = vector.requestFields.get(name);
    checked.set(
      name,
      type === undefined ? values : values.map((value, row) => checkField(name, type, value, row)),
    );
  }
  return { rows, columns: checked };
}

const TYPE_WORDS: Record<ScalarType, string> = {
  string: 'text',
  int64: INT64_RANGE,
  float64: 'a number',
  bool: 'true or false',
  timestamp: 'an RFC 3339 text with its zone',
};

/** A request field may be null; then what is computed from it is null. */
function checkField(name: string, type: ScalarType, value: Value, row: number): Value {
  if (value === null) return null;
  if (type === 'timestamp' && typeof value === 'string')
    return located(['entities', name, row], () => parseTimestamp(value));
  if (type === 'float64' && typeof value === 'bigint') return Number(value); // as of any digits, the nearest double
  const fits =
    (type === 'string' && typeof value === 'string') ||
    (type === 'bool' && typeof value === 'boolean') ||
    (type === 'float64' && typeof value === 'number') ||
    (type === 'int64' && isInt64(value));
  if (!fits)
    invalid(
      ['entities', name, row],
      `this is not ${TYPE_WORDS[type]}`,
      `give ${name} as ${TYPE_WORDS[type]}`,
    );
  return value;
}

/** Adds the place to an error that knows only the value. */
function located<T>(path: ReadonlyArray<string | number>, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof FeatureStoreError)) throw error;
    const pointer = jsonPointer(path);
    throw new FeatureStoreError(error.code, `${pointer}: ${error.message}`, { ...error.details, pointer });
  }
}

/** The entities of one group, each once. */
interface GroupKeys {
  /** Redis keys of the different entities. */
  online: string[];
  /** For each row its entity's place in `online`; null: every row has the first. */
  byRow: Int32Array | null;
}

function collectKeys(vector: Vector, inputs: Inputs, environment: string): GroupKeys[] {
  return vector.groups.map(({ entity }) => {
    const lists = entity.keys.map(({ name }) => inputs.columns.get(name)!);
    if (inputs.rows > 0 && lists.every((list) => list.length === 1))
      return { online: [keyOfRow(entity, lists, 0, environment)], byRow: null };
    const online: string[] = [];
    const places = new Map<string, number>();
    const byRow = new Int32Array(inputs.rows);
    for (let row = 0; row < inputs.rows; row++) {
      const key = keyOfRow(entity, lists, row, environment);
      let place = places.get(key);
      if (place === undefined) {
        place = online.push(key) - 1;
        places.set(key, place);
      }
      byRow[row] = place;
    }
    return { online, byRow };
  });
}

function keyOfRow(
  entity: Entity,
  lists: ReadonlyArray<readonly Value[]>,
  row: number,
  environment: string,
): string {
  const parts = lists.map((list) => valueAt(list, row));
  try {
    return onlineKey(environment, entity.name, encodeKey(entity, parts));
  } catch (error) {
    // The codec names the key; find which of a composite key's lists it was, and give the row.
    const column = error instanceof FeatureStoreError ? error.details.column : undefined;
    const at = entity.keys.findIndex(({ name }) => name === column);
    if (at < 0) throw error;
    return located(['entities', String(column), lists[at]!.length === 1 ? 0 : row], () => {
      throw error;
    });
  }
}

const valueAt = (list: readonly Value[], row: number): Value => (list.length === 1 ? list[0]! : list[row]!);

async function fetchRecords(
  vector: Vector,
  keys: readonly GroupKeys[],
  context: ReadContext,
): Promise<OnlineData> {
  const { redis, environment, plan, deadline, onRedisRead } = context;
  const started = performance.now();
  const data = await readOnline(
    redis,
    {
      hashes: vector.groups.flatMap(({ readers }, group) => {
        const fields = readers.map((reader) => reader.field);
        return keys[group]!.online.map((key) => ({ key, fields }));
      }),
      progressKey: progressKey(environment),
      tickFields: vector.tickFields,
      onlineSetKey: onlineSetKey(environment),
      versions: vector.groups.flatMap(({ readers }) => readers.map(({ field }) => field)),
      generationKey: generationKey(environment),
    },
    deadline,
  );
  onRedisRead?.(performance.now() - started);
  if (data.generation !== plan.generation)
    throw notReady(generationProblem(plan.generation, data.generation));
  return data;
}

/** For each group, entity and reader: what its record says now. */
type Stored = Judged[][][];

// Decoding holds the event loop: look at the deadline between so many entities.
const ENTITIES_PER_LOOK = 256;

function decode(vector: Vector, keys: readonly GroupKeys[], data: OnlineData, context: ReadContext): Stored {
  const ticks = new Map(vector.tickFields.map((field, index) => [field, data.ticks[index] ?? null]));
  let next = 0;
  return vector.groups.map(({ readers }, group) =>
    keys[group]!.online.map(() => {
      if (next % ENTITIES_PER_LOOK === 0) checkDeadline(context);
      const records = data.records[next++]!;
      return readers.map((reader, index) => {
        if (records instanceof Error) return failed(reader.view, 'FS_RECORD_CORRUPT');
        return decodeRecord(reader, records[index] ?? null, ticks.get(reader.field) ?? null, context.at);
      });
    }),
  );
}

function decodeRecord(
  reader: StoredReader,
  record: Buffer | null,
  newestTick: string | null,
  at: number,
): Judged {
  const moment =
    reader.cadenceMs === null
      ? at
      : tickAt(reader.cadenceMs, newestTick === null ? null : Number(newestTick), at);
  if (record === null || moment === null) return judge(reader.view, null, at);
  try {
    return judge(reader.view, reader.read(record, moment), at);
  } catch (error) {
    // Bytes no reader of this version could have written: whatever they break, it is the record that is at fault.
    return failed(reader.view, error instanceof FeatureStoreError ? error.code : 'FS_RECORD_CORRUPT');
  }
}

function checkDeadline({ deadline }: ReadContext): void {
  if (performance.now() > deadline) throw deadlinePassed();
}

/** For each on-demand view and row: its features. */
function computeOnDemand(
  vector: Vector,
  inputs: Inputs,
  keys: readonly GroupKeys[],
  stored: Stored,
  context: ReadContext,
): Judged[][] {
  return vector.onDemand.map(({ compiled, inputs: features }) => {
    const fields = compiled.request.map(({ name }) => inputs.columns.get(name)!);
    return Array.from({ length: inputs.rows }, (_, row) => {
      if (row % ENTITIES_PER_LOOK === 0) checkDeadline(context);
      const values = fields.map((list) => valueAt(list, row));
      const read = features.map(({ group, reader, feature }) => {
        const { values: found, statuses } = stored[group]![entityOf(keys[group]!, row)]![reader]!;
        return { value: found[feature]!, status: statuses[feature]! };
      });
      try {
        return compiled.evaluate(values, read, context.at);
      } catch {
        return failed(compiled.view, 'the expression failed');
      }
    });
  });
}

const entityOf = ({ byRow }: GroupKeys, row: number): number => (byRow === null ? 0 : byRow[row]!);

interface Parts {
  inputs: Inputs;
  keys: readonly GroupKeys[];
  stored: Stored;
  computed: Judged[][];
}

// What Feast writes where there is no event timestamp; its client cannot parse a null.
const EPOCH = '"1970-01-01T00:00:00Z"';

function assemble(vector: Vector, request: OnlineRequest, plan: CompiledPlan, parts: Parts): Answer {
  const { inputs, keys, stored, computed } = parts;
  const { rows } = inputs;
  const names: string[] = [];
  const results: string[] = [];
  const counts = new Map<string, Map<Status, number>>();
  const present = repeat('"PRESENT"', rows);
  const epochs = repeat(EPOCH, rows);
  const nulls = repeat('null', rows);

  // Join keys first, in the order of the request.
  for (const [name, values] of inputs.columns) {
    const type = vector.joinKeys.get(name);
    if (type === undefined) continue;
    names.push(name);
    const texts = values.map(valueEncoder(type));
    const joined = values.length === 1 ? repeat(texts[0]!, rows) : texts.join(',');
    results.push(result(joined, present, epochs, request.withReasons ? nulls : null));
  }
  // Event timestamps are one list per view, shared by its columns.
  const timestamps = stored.map((entities, group) =>
    vector.groups[group]!.readers.map((_, reader) =>
      spread(
        entities.map((judged) => timestampText(judged[reader]!.eventTimestamp)),
        keys[group]!,
        rows,
      ),
    ),
  );
  for (const { name, view, encode, source } of vector.columns) {
    names.push(name);
    const { feature } = source;
    const judged = source.stored
      ? stored[source.group]!.map((entity) => entity[source.reader]!)
      : computed[source.onDemand]!;
    const places = source.stored ? keys[source.group]! : null;
    const perStatus = counts.get(view) ?? new Map<Status, number>();
    counts.set(view, perStatus);
    for (const { statuses } of judged)
      perStatus.set(statuses[feature]!, (perStatus.get(statuses[feature]!) ?? 0) + 1);
    const list = (textOf: (one: Judged) => string): string => spread(judged.map(textOf), places, rows);
    results.push(
      result(
        list(({ values }) => encode(values[feature]!)),
        list(({ statuses }) => `"${statuses[feature]!}"`),
        source.stored ? timestamps[source.group]![source.reader]! : epochs,
        request.withReasons ? list(({ reasons }) => JSON.stringify(reasons[feature]!)) : null,
      ),
    );
  }
  const metadata = JSON.stringify({
    feature_names: names,
    plan: {
      revision: plan.revision,
      model: vector.lock.model === '' ? null : vector.lock.model,
      lock: vector.lock.number,
      versions: vector.versions,
    },
    ...(request.withVersions && {
      feature_view_metadata: Object.entries(vector.versions).map(([name, version]) => ({ name, version })),
    }),
  });
  return { body: `{"metadata":${metadata},"results":[${results.join(',')}]}`, counts, vector };
}

function result(values: string, statuses: string, timestamps: string, reasons: string | null): string {
  const extra = reasons === null ? '' : `,"reasons":[${reasons}]`;
  return `{"values":[${values}],"statuses":[${statuses}],"event_timestamps":[${timestamps}]${extra}}`;
}

function timestampText(ms: number | null): string {
  return ms === null ? EPOCH : `"${wireTimestamp(ms)}"`;
}

/** One text per entity → one per row, comma-separated. */
function spread(texts: readonly string[], keys: GroupKeys | null, rows: number): string {
  if (keys === null) return texts.join(',');
  if (keys.byRow === null) return repeat(texts[0]!, rows);
  return Array.from(keys.byRow, (place) => texts[place]!).join(',');
}

function repeat(text: string, times: number): string {
  return times === 0 ? '' : `${text},`.repeat(times - 1) + text;
}
