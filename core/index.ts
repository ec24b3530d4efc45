/** What authors import from 'almanac': the builder, and the types of what it yields. */
export * from './builder.js';
export { assertDefinitions, checkDefinitions, type Problem, type ProblemCode } from './check.js';
export type { ColumnType, Definitions, FeatureType } from './definition.js';
export { FeatureStoreError } from './error.js';
export { expect } from './expect.js';
