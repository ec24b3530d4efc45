/** What authors write of what they expect of a view's values. What is not said to `block` is a warning. */
import { type Duration, ms } from './builder.js';
import type { Expectation } from './definition.js';

interface Graver {
  /** Default warn. block: what breaks it is not published, and a stream pauses. */
  severity?: Expectation['severity'];
}

const severity = ({ severity = 'warn' }: Graver = {}): Required<Graver> => ({ severity });

export const expect = {
  /** At most this share of a feature's values is null. @param of max: 0 to 1 */
  nullRate: (feature: string, of: Graver & { max: number }): Expectation => ({
    type: 'nullRate',
    feature,
    max: of.max,
    ...severity(of),
  }),
  /** Every value lies between, both inside; of timestamps as epoch milliseconds. Give one bound or both. */
  range: (feature: string, of: Graver & { min?: number; max?: number }): Expectation => ({
    type: 'range',
    feature,
    min: of.min ?? null,
    max: of.max ?? null,
    ...severity(of),
  }),
  /** Every value is one of these. */
  allowed: (
    feature: string,
    of: Graver & { values: ReadonlyArray<string | number | boolean> },
  ): Expectation => ({
    type: 'allowed',
    feature,
    values: [...of.values],
    ...severity(of),
  }),
  /** No two events of an entity have one timestamp. */
  unique: (of: Graver = {}): Expectation => ({ type: 'unique', ...severity(of) }),
  /** The newest event is no older than that when something is written. */
  freshness: (of: Graver & { maxAge: Duration }): Expectation => ({
    type: 'freshness',
    maxAgeMs: ms(of.maxAge),
    ...severity(of),
  }),
  /** As many rows as the last time, up to this share more or fewer. @param of maxChange: 0.5 is half as many more, or fewer */
  rowCount: (of: Graver & { maxChange: number }): Expectation => ({
    type: 'rowCount',
    maxChange: of.maxChange,
    ...severity(of),
  }),
};
