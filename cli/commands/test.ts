/**
 * `almanac test`: an author's definitions, checked here with no server; with a sample of events, what their features give on it,
 * by the very engine. The sample is read as an import reads it: rows an import would set aside are counted, with the first reason.
 */
import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import { parse } from 'csv-parse';
import { checkDefinitions } from '../../core/check.js';
import type { Definitions, Source } from '../../core/definition.js';
import { FeatureStoreError } from '../../core/error.js';
import type { Event } from '../../core/event.js';
import { columnNames } from '../../core/event.js';
import { createIngest, positionId } from '../../core/ingest.js';
import { renderWarning } from '../../core/render-plan.js';
import type { FeatureSample } from '../../core/sample.js';
import { sampleFeatures } from '../../core/sample.js';
import { MAX_TIMESTAMP } from '../../core/time.js';
import { UsageError } from '../errors.js';
import { DEFAULT_FILE, loadDefinitions } from '../load.js';
import type { Call } from '../program.js';
import { formatCount, formatTable } from '../text.js';

/** A sample is held in memory. */
const MAX_ROWS = 1_000_000;

interface SampleReport {
  source: string;
  /** Where the data comes from, in the author's words ("simulated from ..."). */
  origin: string | null;
  rows: number;
  events: number;
  invalid: number;
  /** Of the first row set aside. */
  firstInvalid: string | null;
  features: FeatureSample[];
}

export default async function test(call: Call<{ sample?: string; source?: string }>): Promise<void> {
  const { args, options, out } = call;
  const path = args[0] ?? DEFAULT_FILE;
  const loaded = await out.step(`evaluating ${path}`, () => loadDefinitions(path));
  const { definitions, problems, warnings } = checkDefinitions(loaded);
  if (definitions === null || problems.length > 0)
    throw new FeatureStoreError('FS_DEFINITION_INVALID', `${path} has ${problems.length} problems`, {
      fix: problems.map(({ path, message, fix }) => `${path}: ${message} (${fix})`).join('; '),
      problems,
    });
  const { sample } = options;
  if (sample === undefined) {
    const counts = {
      views: definitions.views.length,
      features: definitions.views.reduce((sum, { features }) => sum + features.length, 0),
    };
    out.result({ file: path, ...counts, warnings }, () =>
      [
        `${path}: ${counts.features} features in ${counts.views} views, no problem`,
        ...warnings.flatMap(renderWarning),
      ].join('\n'),
    );
    return;
  }
  const report = await out.step(`reading ${sample}`, async (step) => {
    const { header, rows } = await readCsv(sample);
    const source = chooseSource(definitions, header, options.source, sample);
    step.done(`${formatCount(rows.length)} rows of ${source.name}`);
    return sampleReport(definitions, source, header, rows);
  });
  out.result(report, () => render(report));
}

async function readCsv(path: string): Promise<{ header: string[]; rows: Array<Array<string | null>> }> {
  const file = createReadStream(path);
  const parser = parse({ bom: true, cast: (cell, { quoting }) => (cell === '' && !quoting ? null : cell) });
  file.on('error', (error) => parser.destroy(error));
  if (path.endsWith('.gz'))
    file
      .pipe(createGunzip())
      .on('error', (error) => parser.destroy(error))
      .pipe(parser);
  else file.pipe(parser);
  const rows: Array<Array<string | null>> = [];
  try {
    for await (const row of parser) {
      rows.push(row as Array<string | null>);
      if (rows.length > MAX_ROWS + 1)
        throw new UsageError(`${path} has over ${MAX_ROWS} rows`, 'give a smaller sample', { file: path });
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new FeatureStoreError('FS_DATA_INVALID', `${path}: ${error instanceof Error ? error.message : String(error)}`, {
      fix: 'give a CSV file with a header, in UTF-8, plain or .gz',
      file: path,
    }, { cause: error }); // biome-ignore format: one call
  }
  return { header: (rows.shift() ?? []).map((name) => name ?? ''), rows };
}

/** The source asked for, or the only one whose columns the header has. */
function chooseSource(
  definitions: Definitions,
  header: readonly string[],
  asked: string | undefined,
  file: string,
): Source {
  const missing = (source: Source): string[] => columnNames(source).filter((name) => !header.includes(name));
  if (asked !== undefined) {
    const source = definitions.sources.find(({ name }) => name === asked);
    if (!source)
      throw new UsageError(
        `there is no source "${asked}"`,
        `use one of: ${definitions.sources.map(({ name }) => name).join(', ')}`,
      );
    if (missing(source).length > 0)
      throw new FeatureStoreError(
        'FS_DATA_INVALID',
        `${file} lacks the columns ${missing(source).join(', ')} of source "${asked}"`,
        {
          fix: 'add them to its header',
          file,
        },
      );
    return source;
  }
  const fitting = definitions.sources.filter((source) => missing(source).length === 0);
  if (fitting.length !== 1)
    throw new UsageError(
      `the columns of ${file} fit ${fitting.length === 0 ? 'no source' : `several sources: ${fitting.map(({ name }) => name).join(', ')}`}`,
      'name the source: --source <name>',
      { file },
    );
  return fitting[0]!;
}

function sampleReport(
  definitions: Definitions,
  source: Source,
  header: readonly string[],
  rows: ReadonlyArray<ReadonlyArray<string | null>>,
): SampleReport {
  const ingest = createIngest(source, {
    form: 'text',
    shiftMs: 0,
    untilMs: MAX_TIMESTAMP,
    importedMs: MAX_TIMESTAMP,
  });
  const places = columnNames(source).map((name) => header.indexOf(name));
  const events: Event[] = [];
  let firstInvalid: string | null = null;
  rows.forEach((row, index) => {
    const outcome = ingest(places.map((place) => row[place] ?? null));
    if (outcome.outcome === 'event')
      events.push({ ...outcome.event, id: outcome.event.id ?? positionId(0, index), sequence: index + 1 });
    else if (outcome.outcome === 'invalid') firstInvalid ??= `row ${index + 2}: ${outcome.reason}`;
  });
  return {
    source: source.name,
    origin: source.origin,
    rows: rows.length,
    events: events.length,
    invalid: rows.length - events.length,
    firstInvalid,
    features: sampleFeatures(definitions, source.name, events),
  };
}

function render(report: SampleReport): string {
  const { source, origin, rows, events, invalid, firstInvalid, features } = report;
  const head = [
    `${formatCount(rows)} rows of ${source}: ${formatCount(events)} events, ${formatCount(invalid)} set aside`,
    ...(origin === null ? [] : [`data: ${origin}`]),
    ...(firstInvalid === null ? [] : [`first set aside: ${firstInvalid}`]),
  ];
  if (features.length === 0) return `${head.join('\n')}\nno view reads this source\n`;
  const table = formatTable(
    ['feature', 'type', 'entities', 'null', 'min .. median .. p95 .. max, or top values'],
    features.map(({ feature, type, entities, nullRate, distribution }) => [
      feature,
      type,
      entities,
      `${(100 * nullRate).toFixed(1)} %`,
      describe(distribution),
    ]),
  );
  return `${head.join('\n')}\n\n${table}`;
}

function describe(distribution: FeatureSample['distribution']): string {
  if (distribution.kind === 'nothing') return 'no value';
  if (distribution.kind === 'words')
    return `${formatCount(distribution.distinct)}: ${distribution.top.map(({ value, count }) => `${value} (${count})`).join(', ')}`;
  const { min, median, p95, max } = distribution;
  const short = (x: number): string => (Number.isInteger(x) ? formatCount(x) : x.toPrecision(4));
  return `${short(min)} .. ${short(median)} .. ${short(p95)} .. ${short(max)}`;
}
