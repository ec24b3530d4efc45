declare module 'pg-copy-streams' {
  import type { Readable, Writable } from 'node:stream';
  import type { Submittable } from 'pg';

  export class CopyStreamQuery extends Writable implements Submittable {
    rowCount: number;
    submit(connection: unknown): void;
  }
  export class CopyToStreamQuery extends Readable implements Submittable {
    rowCount: number;
    /** Read by pg's client: milliseconds until it gives the query up. */
    query_timeout?: number;
    submit(connection: unknown): void;
  }
  export function from(text: string): CopyStreamQuery;
  export function to(text: string): CopyToStreamQuery;
}
