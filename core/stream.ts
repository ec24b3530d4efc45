/** Where a source's events come from while they happen. */
import type { Source } from './definition.js';

export interface Stream {
  topic: string;
  /** What happened before is a file's or table's to tell; null: everything comes by the topic. */
  cutAtMs: number | null;
}

/** Of every topic: what is in others would be read by nobody. */
export const PARTITIONS = 1;

/** Null: the source has no topic. */
export function streamOf(source: Source): Stream | null {
  if (source.input.type === 'topic') return { topic: source.input.topic, cutAtMs: null };
  return source.stream ?? null;
}

/** As Kafka knows it. */
export function topicName(environment: string, { topic }: Stream): string {
  return `${environment}.${topic}`;
}
