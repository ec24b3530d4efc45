import { readFile } from 'node:fs/promises';
import type { Schemas } from '../../clients/typescript/index.js';
import { type Lock, readLock } from '../../core/lock.js';
import { wrap } from '../../core/render-plan.js';
import { connect } from '../address.js';
import { ask } from '../ask.js';
import type { Client } from '../client.js';
import { UsageError } from '../errors.js';
import type { Call } from '../program.js';
import { followRun, startRun } from '../run.js';
import { type Cell, formatTable } from '../text.js';

type Model = Schemas['Model'];

interface Options {
  registry?: string;
  owner?: string;
  description?: string;
  service: string[];
  trainingSet: string[];
  lock?: string;
  by?: string;
  confirm?: string;
}
type ModelCall = Call<Options>;

const ORDERS: Record<string, (call: ModelCall, client: Client, name: string) => Promise<void>> = {
  register,
  show,
  remove,
};

export default async function model(call: ModelCall): Promise<void> {
  const [order = '', name] = call.args;
  const client = connect(call);
  if (order === 'list') return list(call, client);
  const known = ORDERS[order];
  if (!known) throw new UsageError(`"${order}" is no order`, `use list, ${Object.keys(ORDERS).join(', ')}`);
  if (name === undefined) throw new UsageError('which model?', `almanac model ${order} churn`);
  return known(call, client, name);
}

async function list({ out }: ModelCall, client: Client): Promise<void> {
  const models: Model[] = [];
  let after = '';
  for (;;) {
    const page = await client.get<{ items: Model[]; next: string | null }>(`/v1/models?limit=1000${after}`);
    models.push(...page.items);
    if (page.next === null) break;
    after = `&after=${encodeURIComponent(page.next)}`;
  }
  out.result({ models }, () =>
    models.length === 0
      ? 'no model is registered\n'
      : formatTable(
          ['model', 'owner', 'lock', 'canary', 'reads', 'last read'],
          models.map(({ name, owner, locks: [live, canary], reads, lastRead }) => [
            name,
            owner,
            live!.number,
            canary ? `${canary.number}, ${canary.share} %` : null,
            reads,
            lastRead?.slice(0, 10) ?? null,
          ]),
          WIDTH,
        ),
  );
}

async function show({ out }: ModelCall, client: Client, name: string): Promise<void> {
  const found = await client.get<Schemas['ModelDetails']>(pathOf(name));
  out.result(found, () => renderModel(found));
}

function renderModel({
  name,
  owner,
  description,
  registeredAt,
  registeredBy,
  locks,
  readsOf,
}: Schemas['ModelDetails']): string {
  const rest = new Set(readsOf);
  const parts = locks.map((lock) => {
    const rows = Object.entries(lock.services).flatMap(([service, views]) =>
      Object.entries(views).map(([view, { version }]) => {
        const read = readsOf.find(
          (each) => each.service === service && each.view === view && each.version === version,
        );
        if (read) rest.delete(read);
        return rowOf(read ?? { service, view, version, reads: 0, lastRead: null });
      }),
    );
    const sets =
      lock.trainedOn.length === 0 ? [] : [...wrap(`learned from ${lock.trainedOn.join(', ')}`, ''), ''];
    const title = `${lockWords(lock)}, by ${lock.createdBy} at ${short(lock.createdAt)}`;
    return `\n${title}\n${sets.join('\n')}${formatTable(READS, rows, WIDTH)}`;
  });
  if (rest.size > 0)
    parts.push(`\nread by features, or before\n${formatTable(READS, [...rest].map(rowOf), WIDTH)}`);
  return [
    `${name}, of ${owner}\nregistered by ${registeredBy} at ${short(registeredAt)}\n`,
    description === '' ? '' : `${description}\n`,
    ...parts,
  ].join('');
}

const WIDTH = 80;
const READS = ['service', 'view', 'version', 'reads', 'last read'];

type Read = Schemas['ModelDetails']['readsOf'][number];

function rowOf({
  service,
  view,
  version,
  reads,
  lastRead,
}: Omit<Read, 'lastRead'> & { lastRead: string | null }): Cell[] {
  return [service === '' ? '(features)' : service, view, version, reads, lastRead && short(lastRead)];
}

async function register(call: ModelCall, client: Client, name: string): Promise<void> {
  const { options, out } = call;
  const { owner, description, service, trainingSet, lock } = options;
  if (owner === undefined) throw new UsageError('whose is it?', 'give --owner');
  if ((service.length === 0) === (lock === undefined))
    throw new UsageError('what does it read?', 'give --service, once for each, or --lock almanac.lock');
  const run = await started(call, client, '/v1/models', {
    name,
    owner,
    ...(description === undefined ? {} : { description }),
    ...(lock === undefined ? { services: service } : { lock: await lockFile(lock) }),
    ...(trainingSet.length === 0 ? {} : { trainedOn: trainingSet }),
  });
  out.result({ run }, () => `${name} reads by its lock: almanac lock ${name} --out almanac.lock\n`);
}

async function remove(call: ModelCall, client: Client, name: string): Promise<void> {
  const typed =
    call.options.confirm ??
    (await ask(call, `Type the name of the model to remove it: `, '--confirm <name>'));
  const run = await started(call, client, `${pathOf(name)}/remove`, { name: typed });
  call.out.result({ run }, () => `${name} is removed\n`);
}

/** Posts what starts a run, and follows it. */
export async function started(
  { options, out }: Call<{ by?: string }>,
  client: Client,
  path: string,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): Promise<Schemas['Run']> {
  const by = options.by === undefined ? {} : { by: options.by };
  const run = await startRun(client, path, { ...body, ...by }, headers);
  return out.step(run, (step) => followRun(client, run, step));
}

export const pathOf = (model: string): string => `/v1/models/${encodeURIComponent(model)}`;

export async function lockFile(path: string): Promise<Lock> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new UsageError(
      `${path} cannot be read: ${(error as Error).message}`,
      'write it by: almanac lock <model> --out almanac.lock',
    );
  }
  return readLock(text, path);
}

function lockWords({ number, state, share }: Model['locks'][number]): string {
  return state === 'live' ? `lock ${number}` : `canary ${number}, ${share} %`;
}

const short = (timestamp: string): string => `${timestamp.slice(0, 16)}Z`;
