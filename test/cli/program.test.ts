import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { EXIT } from '../../cli/errors.js';
import { runProgram } from '../../cli/program.js';
import { planDefinitions } from '../../core/plan.js';
import { definitions as shopDefinitions } from '../registry/definitions.js';
import { definitions } from './definitions.js';
import { type Answer, problem, type Stub, startStub } from './stub.js';

const COMMANDS = [
  'up', 'down', 'doctor', 'plan', 'apply', 'import', 'backfill', 'materialize', 'refill', 'get-online', 'get-historical',
  'stream', 'model', 'lock', 'pin', 'retire', 'verify', 'status', 'show', 'lineage', 'audit', 'export', 'restore', 'serve', 'worker', 'registry', 'demo',
]; // biome-ignore format: names

interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

async function run(argv: string[], env: Record<string, string> = {}): Promise<Ran> {
  const ran = { code: 0, stdout: '', stderr: '' };
  const write = (name: 'stdout' | 'stderr') => ({
    write: (text: string) => {
      ran[name] += text;
    },
  });
  const terminal = { stdout: write('stdout'), stderr: write('stderr') };
  ran.code = await runProgram(argv, { env, terminal, isInteractive: false });
  return ran;
}

const PLAN = {
  baseRevision: 0,
  definitionsHash: 'd',
  hash: 'h',
  warnings: [],
  changes: [{ action: 'create', kind: 'entity', name: 'user', fields: [], definition: {} }],
  firstRead: [],
  empty: false,
};
const shop = shopDefinitions();
const NO_PLAN = { ...PLAN, changes: [], empty: true };

const finished = (id: string, result: unknown = {}): object => ({
  id,
  workflow: 'x',
  state: 'completed',
  startedAt: '2026-01-01T00:00:00Z',
  closedAt: '2026-01-01T00:00:01Z',
  progress: null,
  result,
  error: null,
  uiUrl: null,
});

let stub: Stub | null = null;
let dir = '';
let features = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'almanac cli-')); // with a space
  features = join(dir, 'features.ts');
  await writeFile(features, `const parts: object = ${JSON.stringify(definitions)};\nexport default parts;\n`);
});
afterEach(async () => {
  await stub?.close();
  stub = null;
  await rm(dir, { recursive: true });
});
async function serve(answer: Answer): Promise<{ ALMANAC_REGISTRY_URL: string; ALMANAC_SERVING_URL: string }> {
  stub = await startStub(answer);
  return { ALMANAC_REGISTRY_URL: stub.url, ALMANAC_SERVING_URL: stub.url };
}

describe('help', () => {
  test('names every command', async () => {
    const { code, stdout } = await run(['--help']);
    expect(code).toBe(EXIT.ok);
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
  });
  test.each(COMMANDS)('%s: what it does, an example, --json, exit codes; 80 columns', async (command) => {
    const { code, stdout } = await run([command, '--help']);
    expect(code).toBe(EXIT.ok);
    expect(stdout).toContain(`$ almanac ${command}`);
    expect(stdout).toMatch(/--json\s/);
    expect(stdout).toContain('Exit codes:\n  0  ');
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  });
});

describe('misuse: exit 2, three lines, nothing asked of a server', () => {
  const cases: Array<[string[], RegExp]> = [
    [[], /no command was given/],
    [['imprt'], /unknown command 'imprt'[\s\S]*Did you mean import\?/],
    [['up', '--nmae', 'x'], /unknown option '--nmae'/],
    [['import'], /missing required argument 'source'/],
    [['import', 'a', 'b'], /too many arguments/],
    [['import', 'a', '--file', 'a.xlsx'], /does not say what it holds/],
    [['import', 'a', '--shift-weeks', '1.5'], /whole number/],
    [['import', 'a', '--until', '2026-01-01T00:00:00'], /--until: .*no time zone/],
    [['backfill'], /name a view or give --all/],
    [['backfill', 'a', '--all'], /name a view or give --all/],
    [['backfill', 'a@x'], /"a@x" is not a view/],
    [['backfill', 'a', '--start', 'yesterday'], /--start: "yesterday"/],
    [['refill'], /name a view or give --all/],
    [['get-online'], /name a service or features/],
    [['get-online', 's'], /no entity was given/],
    [['get-online', 's', '--entity', 'user_id'], /names no value/],
    [['get-online', 's', '--entity', 'a=1', '--entity', 'a=2'], /given twice/],
    [['get-online', 's', '--entity', 'a=9223372036854775808'], /beyond/],
    [['get-online', '--features', 'a', '--entity', 'a=1'], /"a" is not a feature/],
    [['get-historical', 'a.csv', '--service', 's'], /required option '--out/],
    [['get-historical', 'a.csv', '--service', 's', '--out', 'x.xlsx'], /which format to write/],
    [['get-historical', 'a.txt', '--service', 's', '--out', 'x.arrow'], /does not say what it holds/],
    [
      ['get-historical', 'a.csv', '--service', 's', '--out', 'x.arrow', '--mode', 'now'],
      /known-then or event-time/,
    ],
    [['get-historical', 'a.csv', '--service', 's', '--out', '-', '--json'], /both want stdout/],
    [['verify', '--entities', 'many'], /whole number/],
    [['status', '--registry', 'localhost:1'], /--registry "localhost:1" is not an address/],
    [['status', '--watch', '--json'], /goes on for ever/],
    [['stream', 'stop', 'clicks'], /there is no order "stop"/],
    [['stream', 'pause'], /missing required argument 'source'/],
    [['show'], /missing required argument 'view'/],
    [['show', 'a@x:b'], /"a@x" is not a view/],
    [['lineage', 'team', 't'], /there is no kind "team"/],
    [['lineage', 'view'], /missing required argument 'name'/],
    [['audit', '--last', 'all'], /whole number/],
    [['worker', '--queues', 'fast'], /there is no queue "fast"/],
    [['serve', '--port', '99999'], /--port 99999 is not a port/],
  ];
  test.each(cases)('almanac %j', async (argv, said) => {
    const env = await serve(() => ({}));
    const { code, stdout, stderr } = await run(argv, env);
    expect(stderr).toMatch(said);
    expect(stderr).toMatch(/^fix: {3}\S/m);
    expect(stderr).not.toMatch(/^\s+at /m);
    if (!argv.includes('--json')) expect(stdout).toBe('');
    expect(stub!.asked).toEqual([]);
    expect(code).toBe(EXIT.usage);
  });
  test('of plan: exit 1, since 2 says that there are changes', async () => {
    expect((await run(['plan', '--colour'])).code).toBe(EXIT.failed);
    expect((await run(['plan', join(dir, 'nothing.ts')], await serve(() => NO_PLAN))).code).toBe(EXIT.failed);
    const { code, stderr } = await run(['plan', '--out', 'plan'], await serve(() => NO_PLAN));
    expect(code).toBe(EXIT.failed);
    expect(stderr).toContain('"almanac apply" would take it for a definitions file');
  });
});

describe('plan and apply', () => {
  const registry =
    (plan: object): Answer =>
    (asked) => {
      if (asked === 'POST /v1/plan') return plan;
      if (asked === 'POST /v1/apply') return { run: 'apply/h' };
      return finished('apply/h');
    };
  test('changes: exit 2; none: exit 0', async () => {
    expect((await run(['plan', features], await serve(registry(PLAN)))).code).toBe(EXIT.changes);
    await stub!.close();
    expect((await run(['plan', features], await serve(registry(NO_PLAN)))).code).toBe(EXIT.ok);
  });
  test('--json is the plan, as the registry made it', async () => {
    const { stdout } = await run(['plan', features, '--json'], await serve(registry(PLAN)));
    expect(JSON.parse(stdout)).toEqual(PLAN);
    expect(JSON.parse(stub!.bodies[0]!.toString())).toEqual({ definitions });
  });
  test('nobody to ask and no --yes: nothing is applied', async () => {
    const { code, stderr } = await run(['apply', features], await serve(registry(PLAN)));
    expect(code).toBe(EXIT.usage);
    expect(stderr).toContain('nobody to ask');
    expect(stub!.asked).toEqual(['POST /v1/plan']);
  });
  test('applies exactly the plan it showed', async () => {
    const { code, stdout } = await run(
      ['apply', features, '--yes', '--by', 'ann'],
      await serve(registry(PLAN)),
    );
    expect(code).toBe(EXIT.ok);
    expect(stdout).toContain('+ entity user');
    expect(JSON.parse(stub!.bodies[1]!.toString())).toEqual({
      definitions,
      planHash: 'h',
      by: 'ann',
      remove: [],
    });
  });
  test('--markdown, for a pull request', async () => {
    const { code, stdout } = await run(['plan', features, '--markdown'], await serve(registry(PLAN)));
    expect(code).toBe(EXIT.changes);
    expect(stdout).toBe('### Plan h on an empty registry: 1 to create\n\n- **create** entity user\n');
  });

  describe('what is removed is named', () => {
    const before = { ...shop, policy: { ttl: 'off' as const } };
    const after = { ...shop, views: shop.views.filter(({ name }) => name !== 'user_rank') };
    const removing = planDefinitions({ revision: 1, definitions: before, versions: [] }, after, {});
    test('each: else nothing is applied, and the fix says how', async () => {
      const { code, stderr } = await run(['apply', features, '--yes'], await serve(registry(removing)));
      expect(code).toBe(EXIT.usage);
      expect(stderr).toContain('the plan removes user_rank');
      expect(stderr).toContain('--remove user_rank');
      expect(stub!.asked).toEqual(['POST /v1/plan']);
    });
    test('and nothing else', async () => {
      const { code, stderr } = await run(
        ['apply', features, '--yes', '--remove', 'user_rank', '--remove', 'ttl'],
        await serve(registry(removing)),
      );
      expect(code).toBe(EXIT.usage);
      expect(stderr).toContain('does not remove ttl');
      expect(stub!.asked).toEqual(['POST /v1/plan']);
    });
    test('and the registry is told', async () => {
      const { code } = await run(
        ['apply', features, '--yes', '--remove', 'user_rank'],
        await serve(registry(removing)),
      );
      expect(code).toBe(EXIT.ok);
      expect(JSON.parse(stub!.bodies[1]!.toString())).toMatchObject({ remove: ['user_rank'] });
    });
  });

  describe('a plan in a file', () => {
    const plan = planDefinitions({ revision: 3, definitions: null, versions: [] }, shop, {});
    const file = (): string => join(dir, 'plan.json');
    beforeEach(() => writeFile(features, `export default ${JSON.stringify(shop)};\n`));
    const planned = async (): Promise<void> => {
      const { code } = await run(['plan', features, '--out', file()], await serve(registry(plan)));
      expect(code).toBe(EXIT.changes);
      await stub!.close();
    };

    test('is applied as it is, without the definitions file', async () => {
      await planned();
      await rm(features);
      const { code, stdout } = await run(
        ['apply', file(), '--yes', '--by', 'ann'],
        await serve(registry(plan)),
      );
      expect(code).toBe(EXIT.ok);
      expect(stdout).toContain('+ view user_orders v1');
      expect(stub!.asked[0]).toBe('POST /v1/apply');
      expect(JSON.parse(stub!.bodies[0]!.toString())).toEqual({
        definitions: shop,
        planHash: plan.hash,
        by: 'ann',
        remove: [],
      });
    });
    test('that is not what applying would do now: nothing is applied, the plan of now is shown', async () => {
      await planned();
      const fresh = planDefinitions({ revision: 4, definitions: null, versions: [] }, shop, {});
      const { code, stderr } = await run(
        ['apply', file(), '--yes'],
        await serve((_asked, _body, _request, response) =>
          problem(response, 409, 'FS_PLAN_STALE', { plan: fresh }),
        ),
      );
      expect(code).toBe(EXIT.failed);
      expect(stderr).toContain(`plan ${fresh.hash.slice(0, 16)} on revision 4`);
      expect(stderr).toContain('FS_PLAN_STALE');
    });
    test.each<{ why: string; change: (text: string) => string; says: RegExp }>([
      {
        why: 'whose changes were written over',
        change: (text) => text.replace('"action": "create"', '"action": "change"'),
        says: /was changed after/,
      },
      {
        why: 'whose definitions were written over',
        change: (text) => text.replace('"minEvents": 0', '"minEvents": 9'),
        says: /was changed after/,
      },
      { why: 'that is none', change: () => '{}', says: /is no file of a plan/ },
      { why: 'that is no JSON', change: (text) => text.slice(1), says: /is no file of a plan/ },
    ])('$why is refused, and nothing is asked', async ({ change, says }) => {
      await planned();
      await writeFile(file(), change(await readFile(file(), 'utf8')));
      const { code, stderr } = await run(['apply', file(), '--yes'], await serve(registry(plan)));
      expect(code).toBe(EXIT.usage);
      expect(stderr).toMatch(says);
      expect(stub!.asked).toEqual([]);
    });
    test('that cannot be written: the exit code says so', async () => {
      const { code } = await run(
        ['plan', features, '--out', join(dir, 'nowhere', 'plan.json')],
        await serve(registry(plan)),
      );
      expect(code).toBe(EXIT.failed);
    });
  });

  describe('almanac.policy.json', () => {
    const policy = (text: string): Promise<void> => writeFile(join(dir, 'almanac.policy.json'), text);
    test('goes with the definitions', async () => {
      await policy('{ "project": "shop", "rules": { "ttl": "warning" } }');
      await run(['plan', features], await serve(registry(PLAN)));
      expect(JSON.parse(stub!.bodies[0]!.toString())).toEqual({
        definitions: { ...definitions, project: 'shop', policy: { ttl: 'warning' } },
      });
    });
    test.each([
      ['no JSON', '{', /almanac\.policy\.json is no JSON/],
      ['a list', '[]', /almanac\.policy\.json: /],
      ['another field', '{ "rule": {} }', /almanac\.policy\.json: .*rule/],
      ['another severity', '{ "rules": { "ttl": "ignore" } }', /almanac\.policy\.json, rules\.ttl: /],
      [
        'no such rule',
        '{ "rules": { "tll": "off" } }',
        /almanac\.policy\.json, rules\.tll: there is no such rule/,
      ],
      ['no name', '{ "project": "" }', /almanac\.policy\.json, project: /],
    ])('%s is refused, with the file and the place', async (_, text, says) => {
      await policy(text);
      const { code, stderr } = await run(['plan', features], await serve(registry(PLAN)));
      expect(code).toBe(EXIT.failed);
      expect(stderr).toMatch(says);
      expect(stub!.asked).toEqual([]);
    });
    test('is what almanac test judges by', async () => {
      const long = structuredClone(shop);
      long.views[2]!.features[0]!.name = 'rank';
      await writeFile(features, `export default ${JSON.stringify(long)};\n`);
      expect((await run(['test', features])).code).toBe(EXIT.failed);
      await policy('{ "rules": { "name-entity-first": "warning" } }');
      const { code, stdout } = await run(['test', features]);
      expect(code).toBe(EXIT.ok);
      expect(stdout).toContain('"rank" does not start with its entity');
    });
  });

  test('nothing to change: nobody is asked, and it is published again', async () => {
    const { code } = await run(['apply', features], await serve(registry(NO_PLAN)));
    expect(code).toBe(EXIT.ok);
    expect(stub!.asked.slice(0, 2)).toEqual(['POST /v1/plan', 'POST /v1/apply']);
  });
  test.each([
    { text: 'export default 1;', said: 'does not export definitions' },
    { text: 'throw new Error("oh");', said: 'cannot be evaluated: oh' },
    { text: 'export default {', said: 'cannot be evaluated' },
    { text: "import { define } from 'almanac';\nexport default define([]);", said: '' },
  ])('a file that is $text', async ({ text, said }) => {
    await writeFile(features, text);
    const { code, stderr } = await run(['plan', features], await serve(registry(NO_PLAN)));
    expect(stderr).toContain(said);
    expect(stderr).not.toMatch(/^\s+at /m);
    if (said !== '') expect(code).toBe(EXIT.failed);
  });
});

describe('--json: one document on stdout, and nothing else there', () => {
  const run1 =
    (id: string, result: unknown = {}): Answer =>
    (asked) => {
      if (asked.startsWith('GET /v1/runs')) return finished(id, result);
      if (asked === 'POST /v1/files') return { sha256: 'ab', bytes: 3 };
      if (asked.startsWith('GET /v1/training-sets')) return { rows: 1 };
      if (asked.startsWith('GET /v1/verifications')) return { checked: 5, different: 0, differences: [] };
      const views = [{ view: 'a', version: 1, kind: 'sql', state: 'live', online: true }];
      if (asked.startsWith('GET'))
        return { environment: 'x', streams: [{ source: 'a', state: 'drained' }], views };
      return { run: id };
    };
  test.each([
    { argv: ['import', 'a', '--file', 'a.csv'], id: 'import/a/a', result: { counts: { archived: 1 } } },
    { argv: ['backfill', '--all'], id: 'backfill/a@1/x..y' },
    { argv: ['materialize', 'a'], id: 'materialize/a@1/x' },
    { argv: ['refill', 'a@2'], id: 'refill/a@2' },
    { argv: ['get-historical', 'a.csv', '--service', 's', '--out', 'out.parquet'], id: 'training-set/7' },
    { argv: ['verify'], id: 'verify/1' },
    { argv: ['status'], id: '' },
    { argv: ['stream', 'drain', 'a'], id: 'stream/a' },
  ])('almanac $argv', async ({ argv, id, result }) => {
    await writeFile(join(dir, 'a.csv'), 'a\n1\n');
    const args = argv.map((arg) => (/\.(csv|parquet)$/.test(arg) ? join(dir, arg) : arg));
    const { code, stdout, stderr } = await run([...args, '--json'], await serve(run1(id, result)));
    expect(stderr).not.toContain('error');
    expect(code).toBe(EXIT.ok);
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
    expect(JSON.parse(stdout)).toBeTypeOf('object');
  });
  test('get-online passes on what serving wrote, to the digit', async () => {
    const body =
      '{"metadata":{"feature_names":["n"]},"results":[{"values":[9007199254740993],"statuses":["PRESENT"],"event_timestamps":["x"]}]}';
    const env = await serve((_asked, _body, _request, response) => void response.end(body));
    expect((await run(['get-online', 's', '--entity', 'a=1,b,"7"', '--json'], env)).stdout).toBe(`${body}\n`);
    expect(JSON.parse(stub!.bodies[0]!.toString())).toEqual({
      feature_service: 's',
      entities: { a: [1, 'b', '7'] },
    });
    expect((await run(['get-online', 's', '--entity', 'a=1'], env)).stdout).toContain('9007199254740993');
  });
  test('digits are text where serving wants text', async () => {
    const env = await serve((_asked, body, _request, response) => {
      const { entities } = JSON.parse(body.toString());
      if (typeof entities.user_id[0] === 'number')
        return problem(response, 422, 'FS_KEY_INVALID', { column: 'user_id' });
      return { entities };
    });
    const { stdout } = await run(
      ['get-online', 's', '--entity', 'user_id=7', '--entity', 'item_id=8', '--json'],
      env,
    );
    expect(JSON.parse(stdout)).toEqual({ entities: { user_id: ['7'], item_id: [8] } });
  });
  test('of a failure: the problem', async () => {
    const env = await serve((_asked, _body, _request, response) =>
      problem(response, 404, 'FS_NOT_FOUND', { view: 'a' }),
    );
    const { code, stdout, stderr } = await run(['refill', 'a', '--json'], env);
    expect(code).toBe(EXIT.failed);
    expect(JSON.parse(stdout)).toEqual({
      error: {
        type: 'urn:almanac:error:FS_NOT_FOUND',
        title: 'it is FS_NOT_FOUND',
        code: 'FS_NOT_FOUND',
        view: 'a',
        fix: 'do otherwise',
      },
    });
    expect(stderr).toContain('where: view a\nfix:   do otherwise\n');
  });
  test('of misuse too', async () => {
    expect(JSON.parse((await run(['refill', '--json'])).stdout)).toHaveProperty('error.fix');
  });
});

describe('what a command does', () => {
  const partition = {
    source: 'clicks_of_the_shop', partition: 0, topic: 'prod.clicks', state: 'running', offset: 12_345_678_901, end: 12_345_678_999,
    lag: 98, watermark: '2026-11-21T12:34:56.789Z', ratePerSecond: 123_456, wanted: 'run', reason: null, owed: 0, seenAt: '2026-11-21T12:34:59.000Z',
    counts: { archived: 1_234_567, late: 12, duplicate: 345, conflict: 1, invalid: 7, tooLate: 2, held: 3, parity: 0 },
  }; // biome-ignore format: one thing
  const statusOf = (streams: object[]): object => ({
    environment: 'prod', postgres: 'ok', temporal: 'ok', revision: 3, appliedBy: 'ada', appliedAt: '2026-11-21T00:00:00Z',
    sources: [], imports: [], views: [], failedExpectations: [], services: [], runs: [], streams,
  }); // biome-ignore format: one thing
  test('status: a stream in 80 columns; one that nobody reads is said to be silent, since when', async () => {
    const silent = { ...partition, source: 'visits', state: 'silent', owed: 2 };
    const { stdout } = await run(['status'], await serve(() => statusOf([partition, silent])));
    expect(stdout).toMatch(
      /^clicks_of_the_shop\/0 +running +12,345,678,901 +98 +123,456 +2026-11-21T12:34Z$/m,
    );
    expect(stdout).toMatch(/^clicks_of_the_sh… +1,234,567 +12 +345 +1 +7 +2 +3$/m);
    expect(stdout).toContain('!! visits/0: its reader was last seen at 2026-11-21T12:34:59.000Z\n');
    expect(stdout).toContain('!! visits/0: Redis missed 2 ranges');
    expect(stdout.match(/^!!/gm)).toHaveLength(2);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  });
  test('status: what is not as expected, and a stream that was paused for it, in 80 columns', async () => {
    const failed = {
      view: 'user_orders', version: 2, expectation: 'nullRate of user_country', severity: 'block', what: 'tick',
      reference: '2026-11-21T12:00:00.000Z', said: '12.5 % of 800 values are null; at most 5 % may be',
    }; // biome-ignore format: one thing
    const paused = {
      ...partition,
      state: 'paused',
      reason: `what follows of user_orders@2 is not published: ${failed.said}`,
    };
    const status = { ...statusOf([paused]), failedExpectations: [failed] };
    const { stdout } = await run(['status'], await serve(() => status));
    const told = stdout.replace(/\n {4}/g, ' ');
    expect(told).toContain(
      '!! clicks_of_the_shop/0: paused: what follows of user_orders@2 is not published: 12.5 %',
    );
    expect(told).toContain(
      '!! user_orders@2: nullRate of user_country (block), tick 2026-11-21T12:00:00.000Z: 12.5 % of 800',
    );
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  });
  test('statistics: each feature a line, and what is frequent, in 80 columns', async () => {
    const none = { min: null, max: null, mean: null, p50: null, distinct: null, top: null };
    const statistics = {
      view: 'user_orders', version: 2, what: 'tick', reference: '2026-11-21T12:00:00.000Z', at: '2026-11-21T12:00:09.123Z',
      features: [
        { feature: 'user_country', type: 'string', count: 1_200, nulls: 200, min: 2, p50: 2, max: 2, mean: 2, distinct: 3, top: [{ value: 'DE', count: 600 }, { value: 'FR', count: 395 }] },
        { feature: 'user_last_order_at', type: 'timestamp', count: 1_200, nulls: 0, min: 0, p50: 86_400_000, max: 1_763_728_000_000, mean: 1.5, distinct: 1_100, top: null },
        { feature: 'user_mean_order_value_over_all_of_the_time_there_ever_was', type: 'float64', count: 1_200, nulls: 0, min: -1.5, p50: 12.3456789, max: 1e12, mean: 99.99, distinct: 800, top: null },
        { feature: 'user_never', type: 'int64', count: 1_200, nulls: 1_200, ...none },
      ],
    }; // biome-ignore format: one thing
    const asked: string[] = [];
    const env = await serve((what) => {
      asked.push(what);
      return statistics;
    });
    const { stdout } = await run(['statistics', 'user_orders@2', '--of', 'tick'], env);
    expect(asked).toEqual(['GET /v1/views/user_orders%402/statistics?what=tick']);
    expect(stdout).toMatch(
      /^user_orders@2, tick 2026-11-21T12:00:00.000Z, counted at 2026-11-21T12:00:09Z$/m,
    );
    expect(stdout).toMatch(/^user_never +1,200 +1,200 +- +- +- +-$/m);
    expect(stdout).toMatch(/^user_last_order_at +1,200 +0 +1970-01-01 +1970-01-02 +2025-11-21 +1,100$/m);
    expect(stdout).toMatch(/^user_mean_order_va… +1,200 +0 +-1.5 +12.35 +1.000e\+12 +800$/m);
    expect(stdout).toMatch(/^user_country +DE 60 %, FR 40 %$/m);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  });
  describe('model, lock, pin, retire', () => {
    const service = 'checkout_recommendations_of_today';
    const view = 'user_orders_of_all_shops_together';
    const pinned = (version: number) => ({
      [service]: { [view]: { version, hash: String(version).repeat(64) } },
    });
    const features = { [service]: [`${view}:user_order_count_last_7d`] };
    const lock = { lock: 1, model: 'churn', services: pinned(1), features };
    const made = {
      features,
      createdAt: '2026-11-01T08:00:00.000Z',
      createdBy: 'anna',
      trainedOn: [] as string[],
    };
    const model = {
      name: 'churn', owner: 'machine-learning@of-the-shop.example', description: 'who leaves', registeredAt: '2026-11-01T08:00:00.000Z', registeredBy: 'anna', change: 3, reads: 1_234_567,
      lastRead: '2026-11-28T09:01:00.000Z',
      locks: [
        { number: 1, state: 'live', share: 100, services: pinned(1), ...made },
        { number: 2, state: 'canary', share: 10, services: pinned(2), ...made, trainedOn: ['20261121T033000Z-1f0c9a2b', '20261122T033000Z-1f0c9a2b', '20261123T033000Z-1f0c9a2b'] },
      ],
      readsOf: [
        { service: '', view: 'user_now', version: 3, reads: 1_234_500, lastRead: '2026-11-28T09:00:00.000Z' },
        { service, view, version: 1, reads: 12, lastRead: '2026-11-28T09:01:00.000Z' },
        { service, view, version: 7, reads: 55, lastRead: '2026-10-01T00:00:00.000Z' },
      ],
    }; // biome-ignore format: a model
    const serve = async () => {
      stub = await startStub((asked) => {
        if (asked.startsWith('GET /v1/runs')) return finished('a run');
        if (asked.startsWith('GET /v1/models/churn/lock')) return lock;
        if (asked.startsWith('GET /v1/models/')) return model;
        if (asked.startsWith('GET /v1/models')) return { items: [model], next: null };
        return { run: 'a run' };
      });
      return stub;
    };
    const on = (...argv: string[]) => run([...argv, '--registry', stub!.url]);
    const posted = () => {
      const place = stub!.asked.findIndex((asked) => asked.startsWith('POST'));
      return [stub!.asked[place], place < 0 ? null : JSON.parse(stub!.bodies[place]!.toString())];
    };

    test('who reads what, in 80 columns', async () => {
      await serve();
      const list = await on('model', 'list');
      for (const said of ['churn', '2, 10 %', '1,234,567', '2026-11-28']) expect(list.stdout).toContain(said);
      const show = await on('model', 'show', 'churn');
      for (const said of [
        'who leaves',
        'lock 1, by anna',
        'canary 2, 10 %',
        '2026-11-28T09:01Z',
        'learned from 2026',
      ])
        expect(show.stdout).toContain(said);
      expect(show.stdout).toMatch(
        /^checkout_recommendat… +user_orders_of_all_sh… +1 +12 +2026-11-28T09:01Z$/m,
      );
      expect(show.stdout).toMatch(/^checkout_recommendations… +user_orders_of_all_shops_… +2 +0 +-$/m);
      // Lists of features, and a lock of before.
      expect(show.stdout).toMatch(/^\(features\) +user_now +3 +1,234,500 +2026-11-28T09:00Z$/m);
      expect(show.stdout).toMatch(/^checkout_recommen\S+ +user_orders\S+ +7 +55 +2026-10-01T00:00Z$/m);
      for (const { code, stdout } of [list, show]) {
        expect(code).toBe(EXIT.ok);
        expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);
      }
    });
    test('a lock goes to its file, and back by a pin', async () => {
      await serve();
      const file = join(dir, 'almanac.lock');
      expect((await on('lock', 'churn', '--out', file)).code).toBe(EXIT.ok);
      expect(await readFile(file, 'utf8')).toBe((await on('lock', 'churn')).stdout);
      const { code, stdout } = await on('pin', 'churn', '--lock', file, '--share', '10', '--training-set', 'a', '--by', 'bert'); // biome-ignore format: short
      expect([code, stdout]).toEqual([EXIT.ok, 'lock 1: 90 % of requests\ncanary 2: 10 % of requests\n']);
      expect(posted()).toEqual([
        'POST /v1/models/churn/pin',
        { lock, share: 10, trainedOn: ['a'], by: 'bert' },
      ]);
    });
    test.each([
      { argv: [], query: 'state=live' },
      { argv: ['--canary'], query: 'state=canary' },
      { argv: ['--next'], query: 'state=next' },
      { argv: ['--next', '--service', 'a', '--service', 'b'], query: 'state=next&service=a&service=b' },
    ])('which lock: $argv', async ({ argv, query }) => {
      await serve();
      expect((await on('lock', 'churn', ...argv)).code).toBe(EXIT.ok);
      expect(stub!.asked).toContain(`GET /v1/models/churn/lock?${query}`);
    });
    test.each([
      { argv: ['model', 'rename', 'churn'], says: /"rename" is no order/ },
      { argv: ['model', 'show'], says: /which model/ },
      { argv: ['model', 'register', 'churn', '--service', 'checkout'], says: /whose is it/ },
      { argv: ['model', 'register', 'churn', '--owner', 'me'], says: /what does it read/ },
      { argv: ['model', 'remove', 'churn'], says: /nobody to ask[\s\S]*--confirm/ },
      { argv: ['lock', 'churn', '--canary', '--next'], says: /one of --canary and --next/ },
      { argv: ['lock', 'churn', '--service', 'checkout'], says: /give --next too/ },
      { argv: ['pin', 'churn'], says: /--promote and --abort/ },
      { argv: ['pin', 'churn', '--promote', '--abort'], says: /give one of/ },
      { argv: ['pin', 'churn', '--promote', '--share', '10'], says: /--share is of a lock/ },
      { argv: ['pin', 'churn', '--promote', '--training-set', 'x'], says: /--training-set is of a lock/ },
      { argv: ['pin', 'churn', '--lock', 'none', '--share', 'ten'], says: /number of percent/ },
      { argv: ['pin', 'churn', '--lock', '/nowhere/almanac.lock'], says: /cannot be read/ },
      { argv: ['retire', 'user_orders'], says: /which version/ },
      { argv: ['retire', 'user_orders@1'], says: /nobody to ask/ },
    ])('misuse: $argv', async ({ argv, says }) => {
      await serve();
      const { code, stderr } = await on(...argv);
      expect([code, posted()[0]]).toEqual([EXIT.usage, undefined]);
      expect(stderr).toMatch(says);
    });
    test('what ends is named', async () => {
      await serve();
      expect(
        (
          await on(
            'retire',
            'user_orders@1',
            '--confirm',
            'user_orders@1',
            '--unread-days',
            '2',
            '--by',
            'bert',
          )
        ).code,
      ).toBe(EXIT.ok);
      expect(posted()).toEqual([
        'POST /v1/views/user_orders%401/retire',
        { name: 'user_orders@1', unreadDays: 2, by: 'bert' },
      ]);
    });
  });

  test('stream: waits until every partition has done it', async () => {
    let asked = 0;
    const env = await serve((what) => {
      if (what === 'POST /v1/streams') return { run: 'stream/clicks_of_the_shop' };
      return statusOf([
        { ...partition, wanted: 'pause', state: ++asked < 3 ? 'running' : 'paused' },
        { ...partition, source: 'other' },
      ]);
    });
    const { code, stdout } = await run(['stream', 'pause', 'clicks_of_the_shop'], env);
    expect(code).toBe(EXIT.ok);
    expect(asked).toBe(3);
    expect(JSON.parse(stub!.bodies[0]!.toString())).toEqual({
      source: 'clicks_of_the_shop',
      order: 'pause',
      by: userInfo().username,
    });
    expect(stdout).toMatch(/^clicks_of_the_shop\/0 +paused /m);
    expect(stdout).not.toContain('other');
  });
  test('stream: another order meanwhile ends the wait', async () => {
    let asked = 0;
    const reason = 'null_rate of user_clicks is 0.4';
    const env = await serve((what) => {
      if (what === 'POST /v1/streams') return { run: 'stream/clicks_of_the_shop' };
      const isPaused = ++asked > 2;
      return statusOf([
        {
          ...partition,
          state: 'paused',
          wanted: isPaused ? 'pause' : 'run',
          reason: isPaused ? reason : null,
        },
      ]);
    });
    const { code, stderr } = await run(['stream', 'resume', 'clicks_of_the_shop'], env);
    expect(code).toBe(EXIT.failed);
    expect(asked).toBe(3);
    expect(stderr).toContain(`got another order since: pause, because ${reason}`);
  });
  test('stream: a run that failed before there was a partition ends the wait, with its reason', async () => {
    let now = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => (now += 20_000));
    onTestFinished(() => clock.mockRestore());
    const failed = { ...finished('stream/clicks'), state: 'failed', error: { code: 'FS_CONFLICT', message: 'it is compacted', details: {} } }; // biome-ignore format: one thing
    const env = await serve((asked) => {
      if (asked.startsWith('GET /v1/runs')) return failed;
      return asked.startsWith('GET')
        ? statusOf([])
        : { source: 'clicks', wanted: 'run', run: 'stream/clicks' };
    });
    const { code, stderr } = await run(['stream', 'resume', 'clicks'], env);
    expect(code).toBe(EXIT.failed);
    expect(stderr).toContain('it is compacted');
  });
  test('verify: a difference is exit 1, and is shown: where, both values, the event', async () => {
    const difference = {
      path: 'online', view: 'a', version: 2, entity: { user_id: 'u1' }, moment: '2026-01-01T00:00:00Z', feature: 'f',
      found: 1, expected: 2, where: 'record 7', event: { id: 'e9', timestamp: '2025-12-31T00:00:00Z', found: 'leaves it out' },
    }; // biome-ignore format: one thing
    const failed = {
      state: 'failed',
      error: { code: 'FS_PARITY', message: '1 of 5', details: { fix: 'see' } },
    };
    const env = await serve((asked) => {
      if (asked === 'POST /v1/verifications') return { run: 'verify/1' };
      if (asked.startsWith('GET /v1/runs')) return { ...finished('verify/1'), ...failed };
      return { id: '1', checked: 5, different: 3, owed: [], unread: [], differences: [difference] };
    });
    const { code, stdout } = await run(['verify', '--view', 'a'], env);
    expect(code).toBe(EXIT.failed);
    expect(stdout).toContain(
      'a@2 f, user_id u1, at 2026-01-01T00:00:00Z (online)\n  found    1\n  expected 2\n  where    record 7\n' +
        '  event    e9 of 2025-12-31T00:00:00Z: what was found leaves it out\n... and 2 more\n',
    );
    expect(JSON.parse(stub!.bodies[0]!.toString())).toEqual({
      by: expect.any(String),
      entities: 500,
      moments: 3,
      seed: 1,
      views: ['a'],
    });
    expect(stub!.asked.at(-1)).toBe('GET /v1/verifications/1');
  });
  test('import: weeks become milliseconds, the instant its one form, the name is the file’s', async () => {
    const file = join(dir, 'rows.csv');
    await writeFile(file, 'a\n1\n');
    const env = await serve((asked) => {
      if (asked === 'POST /v1/files') return { sha256: 'ab', bytes: 4 };
      return asked.startsWith('GET')
        ? finished('import/a/rows', { counts: { archived: 1200, invalid: 3 } })
        : { run: 'import/a/rows' };
    });
    const { stdout } = await run(
      ['import', 'a', '--file', file, '--shift-weeks', '2', '--until', '2026-01-01T01:00:00+01:00'],
      env,
    );
    expect(JSON.parse(stub!.bodies[1]!.toString())).toEqual({
      by: expect.any(String), source: 'a', file: 'ab', name: 'rows', format: 'csv', shiftMs: 1_209_600_000, until: '2026-01-01T00:00:00.000Z',
    }); // biome-ignore format: one thing
    expect(stdout).toMatch(/archived +1,200\ninvalid +3\n/);
  });
  test('get-historical: the file appears whole or not at all', async () => {
    const frame = join(dir, 'labels.csv');
    await writeFile(frame, 'a\n1\n');
    let fails = true;
    const env = await serve((asked, _body, _request, response) => {
      if (asked === 'POST /v1/files') return { sha256: 'ab', bytes: 4 };
      if (asked === 'POST /v1/training-sets') return { run: 'training-set/7' };
      if (asked.startsWith('GET /v1/runs')) return finished('training-set/7');
      return fails ? problem(response, 404, 'FS_NOT_FOUND') : { whole: true };
    });
    const argv = ['get-historical', frame, '--service', 's', '--out', join(dir, 'train.arrow')];
    expect((await run(argv, env)).code).toBe(EXIT.failed);
    expect(await readdir(dir)).toEqual(['features.ts', 'labels.csv']);
    fails = false;
    expect((await run(argv, env)).code).toBe(EXIT.ok);
    expect(await readFile(join(dir, 'train.arrow'), 'utf8')).toBe('{"whole":true}');
    expect(await readdir(dir)).toEqual(['features.ts', 'labels.csv', 'train.arrow']);
  });
  test('no server where it should be: exit 3, at once', async () => {
    const env = await serve(() => ({}));
    await stub!.close();
    stub = null;
    const { code, stderr } = await run(['status'], env);
    expect(code).toBe(EXIT.environment);
    expect(stderr).toContain('refuses connections');
  });
  test('--debug shows where an error comes from', async () => {
    expect((await run(['refill', '--debug'], await serve(() => ({})))).stderr).toMatch(/^\s+at /m);
  });
});
