/** Every workflow the workers know. */
export { applyPlan } from './apply-plan.js';
export { importSource } from './import-source.js';
