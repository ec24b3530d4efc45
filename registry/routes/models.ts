/** Models: who reads what, by which lock, and what becomes of it. */
import { z } from 'zod';
import { FeatureStoreError } from '../../core/error.js';
import { Lock } from '../../core/lock.js';
import { namesTag } from '../etag.js';
import {
  getLock,
  getModel,
  getNextLock,
  listModels,
  type ModelChange,
  ModelDetails,
  ModelItem,
  pinModel,
  pinRun,
  registerModel,
  removeModel,
} from '../models.js';
import { PageQuery, pageOf } from '../page.js';
import { Prose, Text } from '../requests.js';
import { type RouteDeps, route, Started, startRun } from './route.js';

const OfModel = z.strictObject({ model: Text });
/** Ids of the training sets that the model learned from. */
const TrainedOn = z.array(Text).max(100).exactOptional();
const example: Lock = {
  lock: 1,
  model: 'churn',
  services: { checkout: { user_orders: { version: 2, hash: '0'.repeat(64) } } },
  features: { checkout: ['user_orders:user_order_count_last_7d'] },
};

const list = route({
  id: 'listModels',
  method: 'GET',
  path: '/v1/models',
  summary: 'models, their locks, and what they read last',
  query: PageQuery,
  response: pageOf(ModelItem),
  handle: ({ query }, { pool }) => listModels(pool, query),
});

const get = route({
  id: 'getModel',
  method: 'GET',
  path: '/v1/models/{model}',
  summary: 'a model: its locks, and its reads of each version',
  params: OfModel,
  response: ModelDetails,
  etag: ({ change }) => tagOfChange(change),
  handle: ({ params }, { pool }) => getModel(pool, params.model),
});

const lock = route({
  id: 'getModelLock',
  method: 'GET',
  path: '/v1/models/{model}/lock',
  summary: 'its lock, as almanac.lock holds it, or one on what is live now',
  params: OfModel,
  query: z.strictObject({
    state: z.enum(['live', 'canary', 'next']).default('live'),
    /** Of the next lock; left out: those that it reads. */
    service: z.union([Text, z.array(Text).max(1_000)]).exactOptional(),
  }),
  response: Lock,
  handle({ params: { model }, query: { state, service } }, { pool }) {
    if (state === 'next')
      return getNextLock(pool, model, service === undefined ? null : [...new Set([service].flat())]);
    if (service !== undefined) one(`service and state=${state}`, 'ask for state=next');
    return getLock(pool, model, state);
  },
});

const register = route({
  id: 'registerModel',
  method: 'POST',
  path: '/v1/models',
  summary: 'register a model on live versions, or on those of a lock → run',
  body: z.strictObject({
    name: Text,
    owner: Text,
    description: Prose.default(''),
    /** One of the two. */
    services: z.array(Text).min(1).exactOptional(),
    lock: Lock.exactOptional(),
    trainedOn: TrainedOn,
    by: Text.exactOptional(),
  }),
  example: { name: 'churn', owner: 'ml@shop.example', services: ['checkout'] },
  response: Started,
  status: 202,
  async handle({ body: { services, lock: given, by, ...of } }, deps) {
    const reads =
      given !== undefined && services === undefined
        ? { lock: given }
        : services !== undefined && given === undefined
          ? { services: [...new Set(services)] }
          : one('services and lock', 'give the services, or a lock');
    return settle(await registerModel(deps.pool, { ...of, reads, by: by ?? 'unknown' }), deps);
  },
});

const pin = route({
  id: 'pinModel',
  method: 'POST',
  path: '/v1/models/{model}/pin',
  summary: 'move a model to a lock, or a share of its requests; promote or abort its canary → run',
  params: OfModel,
  body: z.strictObject({
    /** One of the two. */
    lock: Lock.exactOptional(),
    canary: z.enum(['promote', 'abort']).exactOptional(),
    /** Percent of the requests, with a lock: below 100 it becomes the canary. */
    share: z
      .number('is no number')
      .min(0.001, 'is a share from 0.001')
      .max(100, 'is a share up to 100')
      .exactOptional(),
    /** With a lock. */
    trainedOn: TrainedOn,
    by: Text.exactOptional(),
  }),
  example: { lock: example, share: 10 },
  response: Started,
  status: 202,
  ifMatch: true,
  async handle({ params: { model }, body: { lock: given, canary, share, trainedOn, by }, ifMatch }, deps) {
    if (share !== undefined && given === undefined)
      one('share without a lock', 'give the lock that gets the share');
    if (trainedOn !== undefined && given === undefined)
      one('trainedOn without a lock', 'give the lock that the model reads by');
    const move =
      given !== undefined && canary === undefined
        ? { lock: given, share: (share ?? 100) / 100, trainedOn }
        : canary !== undefined && given === undefined
          ? canary
          : one('lock and canary', 'give a lock, or what becomes of the canary');
    const seen = await seenBy(deps, model, ifMatch);
    return settle(await pinModel(deps.pool, { model, move, seen, by: by ?? 'unknown' }), deps);
  },
});

const remove = route({
  id: 'removeModel',
  method: 'POST',
  path: '/v1/models/{model}/remove',
  summary: 'a model that reads nothing any more; its name is typed again → run',
  params: OfModel,
  body: z.strictObject({ name: Text, by: Text.exactOptional() }),
  example: { name: 'churn' },
  response: Started,
  status: 202,
  ifMatch: true,
  async handle({ params: { model }, body: { name, by }, ifMatch }, deps) {
    const seen = await seenBy(deps, model, ifMatch);
    if (name !== model)
      throw new FeatureStoreError('FS_REQUEST_INVALID', `name is "${name}", the model "${model}"`, {
        fix: `to remove it give its name: ${model}`,
        field: 'name',
      });
    return settle(await removeModel(deps.pool, { model, seen, by: by ?? 'unknown' }), deps);
  },
});

export default [list, get, lock, register, pin, remove];

const tagOfChange = (change: number): string => `"${change}"`;

/** The change that If-Match names. Throws FS_NOT_FOUND, FS_PRECONDITION_FAILED. */
async function seenBy(
  { pool }: RouteDeps,
  model: string,
  ifMatch: string | undefined,
): Promise<number | null> {
  if (ifMatch === undefined) return null;
  const { change } = await getModel(pool, model);
  if (namesTag(ifMatch, tagOfChange(change), { weakly: false })) return change;
  throw new FeatureStoreError(
    'FS_PRECONDITION_FAILED',
    `If-Match names ${ifMatch.slice(0, 80)}; model "${model}" is at ${tagOfChange(change)} now`,
    { fix: `look at it again: almanac model show ${model}`, header: 'If-Match' },
  );
}

/** The run that makes serving read by what is in the registry now. */
function settle(change: ModelChange, { runs }: RouteDeps): Promise<{ run: string }> {
  return startRun(runs, pinRun(change));
}

function one(what: string, fix: string): never {
  throw new FeatureStoreError('FS_REQUEST_INVALID', `${what} do not go together`, { fix });
}
