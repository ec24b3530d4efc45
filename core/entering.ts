/**
 * A state as events enter it one after another, all of them known beforehand: how a sweep folds. What will be retracted is kept out of
 * the state, and put into a copy for as long as it counts; else every retraction would fold all of the entity's events again.
 */
import type { Baseline } from './baseline.js';
import { openBaseline } from './baseline.js';
import type { CompiledView } from './compile.js';
import type { Event } from './event.js';
import {
  advance,
  createState,
  decodeState,
  encodeState,
  fold,
  isBlank,
  rebuild,
  type State,
} from './state.js';

export class Entering {
  readonly #compiled: CompiledView;
  /** Holds what entered and is never retracted. */
  #base: State;
  /** A state was given: what it holds is not known, so it cannot be made anew here. */
  readonly #given: boolean;
  /** Ids of all retractions; none with a given state, which may hold their events. */
  readonly #foreseen = new Set<string>();
  /** Without retractions, a state that takes in everything is never made anew. */
  readonly #keeps: boolean;
  readonly #entered: Event[] = [];
  /** By id: what entered, and whose retraction has not. */
  readonly #passing = new Map<string, Event[]>();
  /** The base with what is passing; null: not made yet. */
  #copy: State | null = null;

  readonly #baseline: Baseline | null;

  /**
   * @param events all that will enter, in any order
   * @param given into which they enter, and not those it holds
   * @param baseline instead of a state: what stands for events that are no more
   */
  constructor(
    compiled: CompiledView,
    events: readonly Event[],
    { given, baseline = null }: { given?: State | undefined; baseline?: Baseline | null | undefined } = {},
  ) {
    this.#compiled = compiled;
    this.#baseline = baseline;
    this.#given = given !== undefined && !isBlank(given);
    this.#base = this.#given ? given! : this.#start(events);
    this.#keeps = !this.#given && !compiled.takesAll;
    if (this.#given || compiled.source.retracts === undefined) return;
    for (const event of events) {
      const retracted = compiled.retracts(event);
      if (retracted !== null) this.#foreseen.add(retracted);
    }
    for (const id of this.#foreseen) this.#base.retracted.add(id);
    this.#keeps ||= this.#foreseen.size > 0;
  }

  /** What enters next is first read at `moment`, not before any of it: what has left by then need not be taken in. */
  readAt(moment: number): void {
    if (this.#compiled.takesAll) advance(this.#compiled, this.#base, moment);
  }

  take(event: Event): void {
    this.#copy = null;
    if (this.#keeps) this.#entered.push(event);
    fold(this.#compiled, this.#base, event);
    if (this.#foreseen.size === 0 || !this.#compiled.accepts(event)) return;
    const retracted = this.#compiled.retracts(event);
    if (retracted !== null) {
      this.#foreseen.delete(retracted);
      this.#passing.delete(retracted);
    } else if (this.#foreseen.has(event.id))
      this.#passing.set(event.id, [...(this.#passing.get(event.id) ?? []), event]);
  }

  /** To be read and moved forward; to be kept only from `end`. A given state may be one that `needsRebuild`. */
  get state(): State {
    if (this.#base.needsRebuild && !this.#given) this.#base = this.#rebuilt();
    if (this.#passing.size === 0) return this.#base;
    this.#copy ??= this.#withPassing();
    return this.#copy;
  }

  /** The state of what entered, when no more will. */
  end(): State {
    const { state } = this;
    for (const id of this.#foreseen) state.retracted.delete(id);
    return state;
  }

  #rebuilt(): State {
    return rebuild(this.#compiled, this.#entered, this.#foreseen, this.#start([]));
  }

  #start(events: readonly Event[]): State {
    return this.#baseline === null
      ? createState(this.#compiled)
      : openBaseline(this.#compiled, this.#baseline, events);
  }

  #withPassing(): State {
    const state = decodeState(this.#compiled, encodeState(this.#compiled, this.#base));
    for (const id of this.#foreseen) state.retracted.delete(id);
    for (const events of this.#passing.values())
      for (const event of events) fold(this.#compiled, state, event);
    return state.needsRebuild ? rebuild(this.#compiled, this.#entered) : state;
  }
}
