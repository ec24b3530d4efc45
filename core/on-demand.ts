/**
 * On-demand views: features computed at the moment of asking, from fields of the request, stored features and the clock.
 * One compiled function for serving and training sets. Pure.
 *
 * A stored feature comes in as it is answered: a cold start's value when there is no history, null when null. A stored feature
 * that failed (ERROR) makes every feature of the view ERROR: a number computed from a hole would look like a real one.
 */
import { assert } from './assert.js';
import type { FeatureType, OnDemandView, ScalarType } from './definition.js';
import type { FeatureValue, Value } from './event.js';
import { compileExpression, type Inputs } from './expression.js';
import { failed, type Judged, presence, type Status } from './vector.js';

export interface CompiledOnDemand {
  view: OnDemandView;
  /** Fields each request carries, in the order `evaluate` takes them. */
  request: ReadonlyArray<{ name: string; type: ScalarType }>;
  /** Stored features it reads, in the order `evaluate` takes them. */
  inputs: ReadonlyArray<{ view: string; feature: string }>;
  /**
   * @param request values of the request fields
   * @param stored value and status of each input
   * @param at the moment of the request or label, epoch ms: what now() gives
   */
  evaluate(request: readonly Value[], stored: readonly OnDemandInput[], at: number): Judged;
}

export interface OnDemandInput {
  value: FeatureValue;
  status: Status;
}

/** @param typeOf the type of a stored feature, by view and name */
export function compileOnDemand(
  view: OnDemandView,
  typeOf: (view: string, feature: string) => FeatureType,
): CompiledOnDemand {
  const request = Object.keys(view.request)
    .sort()
    .map((name) => ({ name, type: view.request[name]! }));
  const inputs = view.inputs.map(splitReference);
  const places: Inputs = new Map([
    ...request.map(({ name, type }, index) => [name, { index, type }] as const),
    ...inputs.map(
      (input, index) =>
        [input.feature, { index: request.length + index, type: typeOf(input.view, input.feature) }] as const,
    ),
  ]);
  assert(places.size === request.length + inputs.length, `on-demand view ${view.name} names an input twice`);
  const features = view.features.map((feature) => compileExpression(feature.expression, places));
  return {
    view,
    request,
    inputs,
    evaluate(requestValues, stored, at) {
      const broken = stored.findIndex((input) => input.status === 'ERROR');
      if (broken >= 0) return failed(view, `input ${view.inputs[broken]} failed`);
      const row = [...requestValues, ...stored.map((input) => input.value as Value)]; // no maps: check.ts
      const values = features.map((evaluate) => evaluate(row, at));
      return {
        statuses: values.map(presence),
        values,
        eventTimestamp: null,
        reasons: values.map(() => null),
      };
    },
  };
}

/** "view:feature" → its parts. */
export function splitReference(reference: string): { view: string; feature: string } {
  const colon = reference.indexOf(':');
  assert(colon > 0, `feature reference "${reference}"`);
  return { view: reference.slice(0, colon), feature: reference.slice(colon + 1) };
}
