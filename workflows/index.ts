/** Every workflow the workers know. */
export { applyPlan } from './apply-plan.js';
export { backfill } from './backfill.js';
export { dualWrite } from './dual-write.js';
export { importSource } from './import-source.js';
export { materialize } from './materialize.js';
export { pin } from './pin.js';
export { refill } from './refill.js';
export { retire } from './retire.js';
export { streamShard, streamSource } from './stream.js';
export { trainingSet } from './training-set.js';
export { verify } from './verify.js';
