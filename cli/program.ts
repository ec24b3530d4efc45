/**
 * The whole surface of `almanac`: every command, option, example and exit code. What a command does lies in
 * commands/<name>.ts and is loaded when it is called, so that --help answers at once.
 */
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { EXIT, exitCodeOf, renderError, toProblem, UsageError } from './errors.js';
import { createOutput, type Output, type Terminal } from './output.js';

/** What every command is given. */
export interface Call<O = Record<string, never>> {
  args: string[];
  options: O;
  out: Output;
  env: Readonly<Record<string, string | undefined>>;
  isInteractive: boolean;
}
/** Gives its exit code; nothing is EXIT.ok. */
export type Handler<O> = (call: Call<O>) => Promise<number> | Promise<void>;

interface Spec<O> {
  usage: string;
  summary: string;
  details?: string;
  example: string;
  /** What 0, 1, 2 and 3 mean, where it is not the usual. */
  exits?: readonly string[];
  options?: (command: Command) => Command;
  load: () => Promise<{ default: Handler<O> }>;
}

const REGISTRY = [
  '--registry <url>',
  'address of the registry (default: ALMANAC_REGISTRY_URL, then the running stack)',
] as const;
const SERVING = [
  '--serving <url>',
  'address of serving (default: ALMANAC_SERVING_URL, then the running stack)',
] as const;
const BY = ['--by <who>', 'who does it, for the record (default: the user of this machine)'] as const;
const NAME = ['--name <name>', 'which local stack', 'dev'] as const;
const EXITS = ['done', 'failed', 'wrong usage', 'something needed is missing or away'] as const;

const stack = (command: Command): Command => command.option(...NAME);
const registry = (command: Command): Command => command.option(...REGISTRY);

// biome-ignore lint/suspicious/noExplicitAny: each handler states the options that its own row below declares
const COMMANDS: Array<Spec<any>> = [
  {
    usage: 'up',
    summary: 'start the local stack: servers and our processes',
    example: 'almanac up',
    options: stack,
    load: () => import('./commands/up.js'),
  },
  {
    usage: 'down',
    summary: 'stop the local stack; its data stays unless --wipe',
    example: 'almanac down',
    options: (command) => stack(command).option('--wipe', 'delete its data too'),
    load: () => import('./commands/down.js'),
  },
  {
    usage: 'doctor',
    summary: 'check this machine and what runs on it',
    example: 'almanac doctor',
    exits: ['all is well', 'failed', EXITS[2], 'something is to be done'],
    load: () => import('./commands/doctor.js'),
  },
  {
    usage: 'plan [file]',
    summary: 'show what applying a definitions file would change',
    details:
      'Evaluates the file (default ./features.ts) on this machine, with the almanac.policy.json beside it, and\ncompares it with the registry.',
    example: 'almanac plan examples/shop/features.ts --out plan.json',
    exits: ['nothing to change', 'failed, or wrong usage', 'changes', EXITS[3]],
    options: (command) =>
      registry(command)
        .option('--out <file>', 'write it to a file that "almanac apply" takes: .json')
        .option('--markdown', 'as Markdown, for a pull request'),
    load: () => import('./commands/plan.js'),
  },
  {
    usage: 'apply [file]',
    summary: 'plan, ask, and apply: all of it becomes visible at once, or nothing',
    details:
      'The file is a definitions file, or plan.json of "almanac plan --out": exactly that is applied, or, if it is not\nwhat applying would do by now, nothing. What is removed is named: by --remove, or when asked.',
    example: 'almanac apply examples/shop/features.ts --yes',
    options: (command) =>
      registry(command)
        .option('-y, --yes', 'do not ask')
        .option('--remove <name>', 'what the plan removes; repeat for each', collect, [])
        .option(...BY),
    load: () => import('./commands/apply.js'),
  },
  {
    usage: 'import <source>',
    summary: 'bring a file, or the source’s own table, into the archive',
    details:
      'The format goes by the name: .csv or .arrow, each also with .gz. The same file again is not archived twice.',
    example: 'almanac import purchases --file purchases.csv.gz --shift-weeks 463',
    options: (command) =>
      registry(command)
        .option('--file <path>', 'the file; left out for a source that is a table')
        .option('--name <name>', 'name of this import (default: from the file’s name)')
        .option('--shift-weeks <n>', 'move all times by n whole weeks', wholeNumber)
        .option('--until <instant>', 'withhold rows after this RFC 3339 instant'),
    load: () => import('./commands/import.js'),
  },
  {
    usage: 'backfill [view]',
    summary: 'compute a view over the archive: rows, snapshots, online records',
    details: 'The view is a name, or name@version; without a version, the newest.',
    example: 'almanac backfill user_spend --start 2026-01-01T00:00:00Z',
    options: (command) =>
      registry(command)
        .option('--all', 'every stored view')
        .option('--start <instant>', 'first tick, RFC 3339 (default: the first event)')
        .option('--end <instant>', 'last tick, RFC 3339 (default: the newest possible)'),
    load: () => import('./commands/backfill.js'),
  },
  {
    usage: 'materialize <view>',
    summary: 'compute the next ticks of a view now',
    details: 'Without --tick, up to the newest complete one.',
    example: 'almanac materialize user_spend',
    options: (command) => registry(command).option('--tick <instant>', 'up to this tick, RFC 3339'),
    load: () => import('./commands/materialize.js'),
  },
  {
    usage: 'refill [view]',
    summary: 'write the online records of a view again, from snapshots and archive',
    example: 'almanac refill --all',
    options: (command) => registry(command).option('--all', 'every stored view'),
    load: () => import('./commands/refill.js'),
  },
  {
    usage: 'stream <order> <source>',
    summary: 'pause, resume or drain the reading of a source’s topic',
    details:
      'The order is pause, resume or drain. Paused, it reads nothing and its records stay fresh by the clock; drained, it\nwrites its snapshots and ends. resume goes on from either, and after a failure. Waits until it is done.',
    example: 'almanac stream pause clicks',
    options: registry,
    load: () => import('./commands/stream.js'),
  },
  {
    usage: 'get-online [service]',
    summary: 'ask serving for feature values, as a model would',
    details:
      'Give each join key once; a single value goes with every value of the others. Digits are a number where the key is one;\nin double quotes they are always text: --entity \'user_id="7"\'. With --features the service is left out.',
    example: 'almanac get-online recommendation --entity user_id=1 --entity item_id=2,3,5',
    options: (command) =>
      command
        .option(
          '--entity <key=values>',
          'a join key or request field and its values; repeat for each',
          collect,
          [],
        )
        .option('--features <view:feature,...>', 'these features instead of a service')
        .option('--model <name>', 'as this model: by its lock')
        .option(...SERVING),
    load: () => import('./commands/get-online.js'),
  },
  {
    usage: 'get-historical <dataframe>',
    summary: 'build a training set: the features of each row at its own time',
    details:
      'The dataframe is a .csv or .arrow of join keys and event_timestamp. Mode known-then gives what serving could have\nreturned at that time; event-time gives all that is known today. --out - streams Arrow to stdout.',
    example: 'almanac get-historical labels.csv --service recommendation --out train.arrow',
    options: (command) =>
      registry(command)
        .option('--service <name>', 'the feature service')
        .option('--features <view:feature,...>', 'these features instead of a service')
        .requiredOption('--out <file>', 'where to write: .parquet, .arrow, or - for stdout')
        .option('--mode <mode>', 'known-then or event-time', oneOf('known-then', 'event-time'), 'known-then')
        .option('--strict', 'leave out what happens at the very instant of the row'),
    load: () => import('./commands/get-historical.js'),
  },
  {
    usage: 'model <order> [name]',
    summary: 'register a model, list them, show who reads what, remove one',
    details:
      'The order is register, list, show or remove. A model reads by a lock: exact versions, which only "almanac pin"\nmoves. It is registered on what is live, or on a lock. Removing wants its name typed.',
    example: 'almanac model register churn --owner ml@shop.example --service checkout',
    options: (command) =>
      registry(command)
        .option('--owner <who>', 'register: whose it is')
        .option('--description <text>', 'register: what it does')
        .option('--service <name>', 'register: a service that it reads; repeat for each', collect, [])
        .option('--lock <file>', 'register: on the versions of this lock instead')
        .option('--training-set <id>', 'register: what it learned from; repeat for more', collect, [])
        .option('--confirm <name>', 'remove: its name, instead of being asked')
        .option(...BY),
    load: () => import('./commands/model.js'),
  },
  {
    usage: 'lock <model>',
    summary: 'the exact versions that a model reads, as a file',
    details: 'With --next those that are live now, which it may be pinned to.',
    example: 'almanac lock churn --next --out almanac.lock',
    options: (command) =>
      registry(command)
        .option('--out <file>', 'write it there instead of to stdout')
        .option('--canary', 'those of its canary')
        .option('--next', 'those that are live now')
        .option(
          '--service <name>',
          'next: of this service, repeat for each (default: those it reads)',
          collect,
          [],
        ),
    load: () => import('./commands/lock.js'),
  },
  {
    usage: 'pin <model>',
    summary: 'move a model to a lock, or a share of its requests',
    details:
      'Below 100 % the lock becomes the canary, which answers that share of the model’s requests, always the same entities;\n--promote makes it the model’s lock, --abort ends it.',
    example: 'almanac pin churn --lock almanac.lock --share 10',
    options: (command) =>
      registry(command)
        .option('--lock <file>', 'the lock, as "almanac lock" writes it')
        .option('--share <percent>', 'of the requests, with --lock (default: 100)', percent)
        .option('--promote', 'the canary becomes the lock')
        .option('--abort', 'the canary ends')
        .option('--training-set <id>', 'what it learned from, with --lock; repeat for more', collect, [])
        .option(...BY),
    load: () => import('./commands/pin.js'),
  },
  {
    usage: 'retire <view>',
    summary: 'the end of a version that nobody reads: view@version',
    details:
      'Refused while it is live, in a lock, or was read lately, with the list. Its rows stay; its schedule and its records\nin Redis go. Wants the version typed.',
    example: 'almanac retire user_spend@1',
    options: (command) =>
      registry(command)
        .option('--unread-days <n>', 'nobody may have read it for so long (default: 7)', wholeNumber)
        .option('--confirm <view@version>', 'the version, instead of being asked')
        .option(...BY),
    load: () => import('./commands/retire.js'),
  },
  {
    usage: 'test [file]',
    summary: 'check definitions here, and try them on a sample of events',
    details:
      'Needs no server. With --sample: each feature’s type, share of nulls and distribution over the sample’s entities.',
    example: 'almanac test features.ts --sample clicks.csv',
    options: (command) =>
      command
        .option('--sample <file>', 'events of one source: CSV with a header, plain or .gz')
        .option('--source <name>', 'which source (default: the one whose columns the file has)'),
    load: () => import('./commands/test.js'),
  },
  {
    usage: 'verify',
    summary: 'recompute entities from archived events by the oracle and compare',
    example: 'almanac verify --entities 500 --moments 3 --seed 7',
    exits: ['no difference', 'a difference, or failed', EXITS[2], EXITS[3]],
    options: (command) =>
      registry(command)
        .option('--entities <n>', 'entities per view', wholeNumber, 500)
        .option('--moments <n>', 'moments per entity', wholeNumber, 3)
        .option('--seed <n>', 'chooses entities and moments', wholeNumber, 1)
        .option('--view <name>', 'only this view; repeat for more', collect, [])
        .option('--training-set <id>', 'compare this training set too; repeat for more', collect, []),
    load: () => import('./commands/verify.js'),
  },
  {
    usage: 'status',
    summary: 'what is registered, how far it is, what runs',
    example: 'almanac status',
    options: (command) =>
      registry(command)
        .option('--watch', 'again every two seconds, until it is interrupted')
        .option('--name <name>', 'with --env: which local stack (default: dev, then demo)')
        .option('--env', 'print the environment of the running stack, to be evaluated by a shell'),
    load: () => import('./commands/status.js'),
  },
  {
    usage: 'statistics <view>',
    summary: 'of each feature of a view: counts, range, the most frequent values',
    details: 'The newest there are, of whatever was written last: a tick, a backfill, a training set.',
    example: 'almanac statistics user_spend --of backfill',
    options: (command) =>
      registry(command)
        .option('--of <what>', 'tick, backfill, training-set or served')
        .option('--reference <which>', 'the tick as RFC 3339, or the id of the backfill or training set'),
    load: () => import('./commands/statistics.js'),
  },
  {
    usage: 'show <view>',
    summary: 'everything known about a view and its features, or about one of them',
    details: 'A name, or name@version; with :feature for one: user_spend:user_total_spend_7d.',
    example: 'almanac show user_spend:user_total_spend_7d',
    options: registry,
    load: () => import('./commands/show.js'),
  },
  {
    usage: 'lineage <kind> <name>',
    summary: 'what something is made of, and what is made of it',
    details:
      'The kind is table, topic, source, column (source.column), entity, view, feature (view:feature), service, model or\ntrainingSet.',
    example: 'almanac lineage column purchases.amount',
    options: registry,
    load: () => import('./commands/lineage.js'),
  },
  {
    usage: 'audit',
    summary: 'who changed what, newest first',
    details: 'With --json also what was before and after.',
    example: 'almanac audit --kind view --of user_spend',
    options: (command) =>
      registry(command)
        .option('--who <who>', 'only what they changed')
        .option(
          '--kind <kind>',
          'only of plan, project, policy, owner, entity, source, view, service, model, stream, run',
        )
        .option('--of <name>', 'only of what has this name')
        .option('--last <n>', 'so many at most, 1 to 1000', wholeNumber, 20),
    load: () => import('./commands/audit.js'),
  },
  {
    usage: 'export <dir>',
    summary: 'write the whole registry as files that people read and compare',
    details:
      'What is applied, every revision and version, and the audit; no events and no values. The folder is new, or holds\nan export, which this one replaces.',
    example: 'almanac export registry/',
    options: registry,
    load: () => import('./commands/export.js'),
  },
  {
    usage: 'restore <dir>',
    summary: 'bring what export wrote into an empty registry',
    details:
      'Archives are empty then: import their sources, then "almanac backfill --all". A stream begins with "almanac stream\nresume <source>".',
    example: 'almanac restore registry/',
    options: registry,
    load: () => import('./commands/restore.js'),
  },
  {
    usage: 'serve',
    summary: 'run a serving process here, until it is ended',
    example: 'almanac serve --port 7812',
    options: (command) => stack(command).option('--port <port>', 'listen here instead', wholeNumber),
    load: () => import('./commands/serve.js'),
  },
  {
    usage: 'worker',
    summary: 'run a worker process here, until it is ended',
    example: 'almanac worker --queues batch',
    options: (command) =>
      stack(command)
        .option('--queues <names>', 'control, batch, stream', 'control,batch,stream')
        .option('--port <port>', 'answer health here instead', wholeNumber),
    load: () => import('./commands/worker.js'),
  },
  {
    usage: 'registry',
    summary: 'run a registry process here, until it is ended',
    example: 'almanac registry --port 7811',
    options: (command) => stack(command).option('--port <port>', 'listen here instead', wholeNumber),
    load: () => import('./commands/registry.js'),
  },
  {
    usage: 'demo',
    summary: 'the main job from beginning to end, on a year of real purchases',
    details: 'Starts a stack of its own, wiping that of the last demo, and leaves it up unless --once.',
    example: 'almanac demo --once',
    exits: ['done, no difference', 'failed, or a difference', EXITS[2], EXITS[3]],
    options: (command) =>
      command
        .option('--once', 'stop the stack at the end')
        .option('--seed <n>', 'chooses what is simulated and sampled', wholeNumber)
        .option('--end <instant>', 'ends at this RFC 3339 instant of the last 6 hours (default: now)'),
    load: () => import('./commands/demo.js'),
  },
];

export interface Surroundings {
  env?: Readonly<Record<string, string | undefined>>;
  terminal?: Terminal;
  isInteractive?: boolean;
}

/** Runs one command line; gives the exit code. */
export async function runProgram(argv: readonly string[], surroundings: Surroundings = {}): Promise<number> {
  const { env = process.env, terminal = process } = surroundings;
  const isInteractive =
    surroundings.isInteractive ?? (process.stdin.isTTY === true && process.stderr.isTTY === true);
  // Before the command line is understood, a script still gets its document.
  const out = createOutput({ json: argv.includes('--json'), terminal });
  let exitCode: number = EXIT.ok;
  let command = '';

  const program = new Command('almanac')
    .description(
      'A feature store: one definition of a feature, the same value in serving, training and history.',
    )
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void terminal.stdout.write(text),
      writeErr: () => {}, // said below, in our own form
      getOutHelpWidth: () => 80,
    })
    .configureHelp({ subcommandTerm: (command) => command.name() })
    .helpCommand(false)
    .showSuggestionAfterError()
    .addHelpText('after', epilogue('almanac up'));

  for (const spec of COMMANDS) {
    const sub = program
      .command(spec.usage)
      .summary(spec.summary)
      .description(capital(spec.summary) + (spec.details ? `\n\n${spec.details}` : ''));
    (spec.options?.(sub) ?? sub)
      .option('--json', 'one JSON document on stdout, nothing else there')
      .option('--debug', 'stack traces of errors')
      .addHelpText('after', epilogue(spec.example, spec.exits))
      .action(async (...given: unknown[]) => {
        command = sub.name();
        const handler = (await spec.load()).default;
        const args = given.slice(0, -2).filter((arg): arg is string => typeof arg === 'string');
        exitCode = (await handler({ args, options: sub.opts(), out, env, isInteractive })) ?? EXIT.ok;
      });
  }

  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    const failure = fromCommander(error, argv, program);
    if (failure === null) return EXIT.ok;
    if (out.json) out.result({ error: toProblem(failure) }, () => '');
    terminal.stderr.write(renderError(failure, { debug: argv.includes('--debug') }));
    const code = exitCodeOf(failure);
    const isPlan = (command || argv.find((arg) => !arg.startsWith('-'))) === 'plan';
    return isPlan && code === EXIT.usage ? EXIT.failed : code;
  }
}

function epilogue(example: string, exits: readonly string[] = EXITS): string {
  return `\nExample:\n  $ ${example}\n\nExit codes:\n${exits.map((meaning, code) => `  ${code}  ${meaning}\n`).join('')}`;
}

/** null: commander showed help that was asked for. */
function fromCommander(error: unknown, argv: readonly string[], program: Command): unknown {
  if (!(error instanceof CommanderError)) return error;
  if (error.exitCode === 0) return null;
  if (error.code === 'commander.help')
    return new UsageError('no command was given', 'see "almanac --help" for the commands');
  const name = argv.find((arg) => !arg.startsWith('-'));
  const isKnown = program.commands.some((each) => each.name() === name);
  const [message = '', suggestion] = error.message.replace(/^error: /, '').split('\n');
  const hint = suggestion ? `${suggestion.replace(/^\(|\)$/g, '')} ` : '';
  return new UsageError(message, `${hint}See "almanac ${isKnown ? `${name} ` : ''}--help"`);
}

function wholeNumber(text: string): number {
  if (!/^-?\d{1,15}$/.test(text)) throw new InvalidArgumentError('it must be a whole number.');
  return Number(text);
}

function percent(text: string): number {
  if (!/^\d{1,3}(\.\d{1,6})?$/.test(text)) throw new InvalidArgumentError('it must be a number of percent.');
  return Number(text);
}

function oneOf(...words: string[]): (text: string) => string {
  return (text) => {
    if (!words.includes(text)) throw new InvalidArgumentError(`it must be ${words.join(' or ')}.`);
    return text;
  };
}

function collect(text: string, before: string[]): string[] {
  return [...before, text];
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
