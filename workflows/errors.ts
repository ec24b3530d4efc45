/**
 * A FeatureStoreError thrown in workflow code (by a call into core, or on purpose) fails the workflow with its code, like those
 * thrown in activities. Without this Temporal would take it for a bug in the code and try the workflow task for ever.
 * The bundle names this module as a workflow interceptor.
 */
import { ApplicationFailure, type WorkflowInterceptors } from '@temporalio/workflow';
import { FeatureStoreError } from '../core/error.js';

export const interceptors = (): WorkflowInterceptors => ({
  inbound: [
    {
      execute: (input, next) => typed(() => next(input)),
      handleUpdate: (input, next) => typed(() => next(input)),
      validateUpdate: (input, next) => {
        try {
          next(input);
        } catch (error) {
          throw toFailure(error);
        }
      },
    },
  ],
});

async function typed<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toFailure(error);
  }
}

function toFailure(error: unknown): unknown {
  if (!(error instanceof FeatureStoreError)) return error;
  return ApplicationFailure.create({
    type: error.code,
    message: error.message,
    nonRetryable: true, // an operation is started again by a person
    details: [error.details],
  });
}
