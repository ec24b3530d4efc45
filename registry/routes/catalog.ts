/** What is known of features, and who changed what. */
import { z } from 'zod';
import { LINEAGE_KINDS } from '../../core/describe.js';
import { VERSION_STATES } from '../../core/plan.js';
import { AUDIT_KINDS, AuditItem, listAudit } from '../audit.js';
import { CatalogFeature, Direction, getFeatures, Lineage, listFeatures, readLineage } from '../catalog.js';
import { PageQuery, pageOf } from '../page.js';
import { Sha256, Text } from '../requests.js';
import { route } from './route.js';

const features = route({
  id: 'listFeatures',
  method: 'GET',
  path: '/v1/features',
  summary: 'everything known about features',
  query: PageQuery.extend({
    view: Text.exactOptional(),
    owner: Text.exactOptional(),
    tag: Text.exactOptional(),
    entity: Text.exactOptional(),
    source: Text.exactOptional(),
    state: z.enum(VERSION_STATES).exactOptional(),
  }),
  response: pageOf(CatalogFeature),
  handle: ({ query: { limit, after, ...filter } }, { pool }) =>
    listFeatures(pool, filter, { limit, ...(after !== undefined && { after }) }),
});

const ofView = route({
  id: 'getViewFeatures',
  method: 'GET',
  path: '/v1/features/{view}',
  summary: 'everything known about those of one version',
  params: z.strictObject({ view: z.string() }),
  response: z.strictObject({ features: z.array(CatalogFeature) }),
  handle: async ({ params }, { pool }) => ({ features: await getFeatures(pool, params.view) }),
});

const feature = route({
  id: 'getFeature',
  method: 'GET',
  path: '/v1/features/{view}/{feature}',
  summary: 'everything known about one',
  params: z.strictObject({ view: z.string(), feature: z.string() }),
  response: CatalogFeature,
  handle: async ({ params }, { pool }) => (await getFeatures(pool, params.view, params.feature))[0]!,
});

const lineage = route({
  id: 'getLineage',
  method: 'GET',
  path: '/v1/lineage/{kind}/{name}',
  summary: 'what something is made of, or what is made of it',
  params: z.strictObject({ kind: z.enum(LINEAGE_KINDS), name: z.string() }),
  query: z.strictObject({ direction: Direction }),
  response: Lineage,
  handle: ({ params, query }, { pool }) => readLineage(pool, params, query.direction),
});

const audit = route({
  id: 'listAudit',
  method: 'GET',
  path: '/v1/audit',
  summary: 'who changed what, newest first',
  query: PageQuery.extend({
    who: Text.exactOptional(),
    action: Text.exactOptional(),
    kind: z.enum(AUDIT_KINDS).exactOptional(),
    name: Text.exactOptional(),
    planHash: Sha256.exactOptional(),
  }),
  response: pageOf(AuditItem),
  handle: ({ query: { limit, after, ...filter } }, { pool }) =>
    listAudit(pool, filter, { limit, ...(after !== undefined && { after }) }),
});

export default [features, ofView, feature, lineage, audit];
