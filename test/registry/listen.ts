import type { Pool } from '../../registry/sql.js';

/**
 * The pool, which tells of each statement of its transactions when it is answered. Where `answered` throws, the connection dies: what
 * was sent was done, and its answer is lost.
 */
export function listenTo(pool: Pool, answered: (statement: string) => void): Pool {
  return new Proxy(pool, {
    get(target, name) {
      if (name !== 'connect') return Reflect.get(target, name) as unknown;
      return async () => {
        const client = await target.connect();
        const query = client.query.bind(client) as (...given: unknown[]) => Promise<unknown>;
        const release = client.release.bind(client);
        let death: unknown;
        client.release = (() => {
          client.query = query as typeof client.query;
          client.release = release;
          release(death !== undefined);
        }) as typeof client.release;
        client.query = (async (...given: unknown[]) => {
          if (death !== undefined) throw death;
          const answer = await query(...given);
          try {
            answered(String(given[0]));
          } catch (error) {
            death = error;
            throw error;
          }
          return answer;
        }) as typeof client.query;
        return client;
      };
    },
  });
}
