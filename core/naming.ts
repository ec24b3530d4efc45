/**
 * Names: what may be a name at all, and the lint that keeps feature names readable by somebody who meets them in a model's input.
 * `nameException: 'reason'` silences the lint, never the rules of what may be a name.
 */
import type { Problem } from './check/run.js';
import type { Window } from './definition.js';
import { formatDuration, parseDuration } from './time.js';

/** Postgres cuts identifiers there, silently. */
const MAX_NAME_BYTES = 63;

/** Properties of every JavaScript object. */
const RESERVED = new Set(['constructor', 'prototype']);

/** Columns of answers, training sets and the tables of tick rows: no feature, join key or request field is called like them. */
const RESERVED_FIELDS = new Set([
  'key', 'key_hash', 'tick', 'tick_ms', 'committed_ms', 'event_timestamp', 'event_ms', 'created_timestamp', 'record',
  'tableoid', 'ctid', 'xmin', 'cmin', 'xmax', 'cmax', // of every table in Postgres
]); // biome-ignore format: a row of words

/** What is wrong with a name, if anything. `field`: it becomes a column of answers. `spare`: bytes kept for what is put around it. */
export function nameProblem(
  name: string,
  path: string,
  { field = false, spare = 0 }: { field?: boolean; spare?: number } = {},
): Problem | null {
  const problem = (message: string, fix: string): Problem => ({ code: 'name', path, message, fix });
  if (!/^[a-z][a-z0-9_]*$/.test(name))
    return problem(
      `"${name.slice(0, 80)}" is no name`,
      `write lower case letters, digits and _, from a letter on: ${snakeCase(name)}`,
    );
  const limit = MAX_NAME_BYTES - spare;
  if (name.length > limit) return problem(`"${name}" has ${name.length} bytes`, `use at most ${limit}`);
  if (RESERVED.has(name) || (field && RESERVED_FIELDS.has(name)))
    return problem(`"${name}" is reserved`, 'choose another name');
  return null;
}

/** A usable name near the given one: 'userSpend7D' → 'user_spend7_d'. */
function snakeCase(name: string): string {
  const words = name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^[_0-9]+|_+$/g, '');
  return words.slice(0, MAX_NAME_BYTES) || 'user_total_purchases';
}

export interface NamedFeature {
  name: string;
  path: string;
  nameException: string | null;
  /** Names it may start with: the view's entity, over sessions `session` too; of an on-demand view the entities of its inputs. */
  entities: readonly string[];
  /** null: it has no window (sql and on-demand features). */
  window: Window | null;
}

/** Every rule the name breaks. What may be no name at all is reported by nameProblem, and not again here. */
export function lintName(feature: NamedFeature): Problem[] {
  if (nameProblem(feature.name, feature.path)) return [];
  const problems: Problem[] = [];
  const add = (code: Problem['code'], message: string, fix: string): void => {
    problems.push({ code, path: feature.path, message, fix });
  };
  const excuse = 'or give nameException: the reason';
  if (/__|_$/.test(feature.name))
    add(
      'name-snake-case',
      `"${feature.name}" is not snake_case`,
      `write ${feature.name.replace(/_+/g, '_').replace(/_$/, '')}`,
    );
  if (feature.nameException !== null) return problems;

  const entity = feature.entities.find((name) => feature.name.startsWith(`${name}_`));
  if (entity === undefined && feature.entities.length > 0)
    add(
      'name-entity-first',
      `"${feature.name}" does not start with its entity`,
      `call it ${feature.entities[0]}_${feature.name}, ${excuse}`,
    );

  const { tokens, rest } = windowTokens(
    entity === undefined ? feature.name : feature.name.slice(entity.length + 1),
  );
  if (feature.window) problems.push(...windowProblems(feature, feature.window, tokens, excuse));
  for (const word of rest) {
    const full = abbreviated(word);
    if (full === undefined) continue;
    const fix = full === null ? `write the word out, ${excuse}` : `write ${full}, ${excuse}`;
    add('name-abbreviation', `"${word}" in "${feature.name}" is an abbreviation`, fix);
  }
  return problems;
}

// ---------------------------------------------------------------- window tokens

/** A part of a name that speaks of a window: its words, and the length it says; null: of no fixed length. */
interface WindowToken {
  text: string;
  ms: number | 'all_time' | null;
  /** `this_hour`: it began at a boundary, and is still running. */
  running: boolean;
}

const UNITS: Readonly<Record<string, string | null>> = {
  second: '1s', minute: '1min', hour: '1h', day: '1d', week: '7d', month: null, quarter: null, year: null,
}; // biome-ignore format: a table

/** Takes a name apart: `all_time`, `7d`, `last_30min`, `last_hour`, `last_90_days`, `this_week`, and the words beside them. */
export function windowTokens(name: string): { tokens: WindowToken[]; rest: string[] } {
  const words = name.split('_').filter((word) => word !== '');
  const tokens: WindowToken[] = [];
  const rest: string[] = [];
  for (let i = 0; i < words.length; ) {
    const found = tokenAt(words, i);
    if (found) {
      tokens.push({
        text: words.slice(i, i + found.words).join('_'),
        ms: found.ms,
        running: words[i] === 'this',
      });
      i += found.words;
    } else rest.push(words[i++]!);
  }
  return { tokens, rest };
}

function tokenAt(words: readonly string[], at: number): { words: number; ms: WindowToken['ms'] } | null {
  const [first, second, third] = words.slice(at, at + 3);
  if (first === 'all' && second === 'time') return { words: 2, ms: 'all_time' };
  if (first === 'last' && second !== undefined) {
    if (Object.hasOwn(UNITS, second)) return { words: 2, ms: unitMs(second, 1) };
    const plural = third?.endsWith('s') ? third.slice(0, -1) : third;
    if (/^[1-9][0-9]{0,5}$/.test(second) && plural !== undefined && Object.hasOwn(UNITS, plural))
      return { words: 3, ms: unitMs(plural, Number(second)) };
    if (isDuration(second)) return { words: 2, ms: parseDuration(second) };
  }
  if (first === 'this' && second !== undefined) {
    if (Object.hasOwn(UNITS, second)) return { words: 2, ms: unitMs(second, 1) };
    if (second === 'session') return { words: 2, ms: null };
    if (isDuration(second)) return { words: 2, ms: parseDuration(second) };
  }
  if (first !== undefined && isDuration(first)) return { words: 1, ms: parseDuration(first) };
  return null;
}

const isDuration = (word: string): boolean => /^[1-9][0-9]{0,5}(ms|s|min|h|d|w)$/.test(word);

function unitMs(unit: string, times: number): number | null {
  const duration = UNITS[unit];
  return duration ? parseDuration(duration) * times : null;
}

function windowProblems(
  feature: NamedFeature,
  window: Window,
  tokens: readonly WindowToken[],
  excuse: string,
): Problem[] {
  const problem = (message: string, fix: string): Problem => ({
    code: 'name-window',
    path: feature.path,
    message,
    fix,
  });
  if (window.type === 'lifetime')
    return tokens
      .filter((token) => token.ms !== 'all_time')
      .map((token) =>
        problem(
          `"${feature.name}" says ${token.text}, its window is its lifetime`,
          `write all_time or nothing, ${excuse}`,
        ),
      );
  const actual = spoken(window);
  if (tokens.length === 0)
    return [
      problem(
        `"${feature.name}" does not say its window of ${actual}`,
        `call it ${feature.name}_${actual}, ${excuse}`,
      ),
    ];
  return tokens
    .filter((token) => !isSaid(window, token))
    .map((token) =>
      problem(
        `"${feature.name}" says ${token.text}, its window is ${actual}`,
        `write ${actual} or change the window, ${excuse}`,
      ),
    );
}

type Named = Exclude<Window, { type: 'lifetime' }>;

/** How a name says a window: `7d` ends now, `this_hour` began at a boundary. */
function spoken(window: Named): string {
  if (window.type === 'session') return 'this_session';
  if (window.type === 'calendar') return `this_${window.unit}`;
  const length = formatDuration(window.ms);
  if (window.type !== 'tumbling') return length;
  const unit = Object.keys(UNITS).find((name) => unitMs(name, 1) === window.ms);
  return `this_${unit ?? length}`;
}

function isSaid(window: Named, token: WindowToken): boolean {
  if (window.type === 'session' || window.type === 'calendar') return token.text === spoken(window);
  return token.ms === window.ms && token.running === (window.type === 'tumbling');
}

// ---------------------------------------------------------------- abbreviations

/** Short forms that everybody reads. */
const KNOWN = new Set(
  `id ids avg min max std sum ttl url urls sku skus api sql http https html css csv json xml pdf ip sms gps tv vip vat nth vs
   ms km cm mm kg gb mb kb usd eur gbp chf cny jpy utc iso`.split(/\s+/),
);

/** Usual abbreviations of words in data, with the word. */
const WRITTEN_OUT: Readonly<Record<string, string>> = Object.fromEntries(
  `acct:account addr:address amt:amount approx:approximate attr:attribute bal:balance calc:calculated cat:category
   cats:categories cnt:count ctgry:category cum:cumulative curr:current cust:customer del:deleted desc:description
   diff:difference dist:distance doc:document dow:day_of_week dt:date dur:duration est:estimated exp:expiry freq:frequency
   grp:group hist:history hr:hour hrs:hours idx:index img:image imp:impression imps:impressions info:details inv:inventory
   itm:item lang:language lat:latitude len:length loc:location lon:longitude med:median merch:merchant mgr:manager
   mins:minutes mo:month msg:message mth:month nbr:number neg:negative no:number nr:number num:number ord:order org:organisation
   pct:percent perc:percent pmt:payment pos:position pref:preferred prev:previous prc:price prob:probability prod:product
   promo:promotion qty:quantity qtr:quarter rec:recommendation ref:reference reg:registered rev:revenue sec:second
   secs:seconds seq:sequence sess:session src:source stat:status std_dev:std stdev:std sz:size tel:telephone temp:temporary
   tmp:temporary tot:total tran:transaction trans:transaction trx:transaction ts:timestamp txn:transaction tx:transaction
   txns:transactions usr:user util:utilisation val:value vals:values var:variance vol:volume wk:week yr:year yrs:years`
    .split(/\s+/)
    .map((pair) => pair.split(':')),
);

/**
 * undefined: a word. null: an abbreviation of something unknown. Else the word it stands for.
 * A token with a digit (p95, top3, h3) is taken as a word; one without a vowel is not.
 */
function abbreviated(word: string): string | null | undefined {
  if (KNOWN.has(word) || /[0-9]/.test(word)) return undefined;
  if (Object.hasOwn(WRITTEN_OUT, word)) return WRITTEN_OUT[word];
  return /[aeiouy]/.test(word) ? undefined : null;
}
