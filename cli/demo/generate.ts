import { Worker } from 'node:worker_threads';
import type { WrittenShop } from '../../examples/shop/simulate.js';

export interface ShopRequest {
  directory: string;
  seed: number;
}

/** Begins at once, beside whatever this thread does; whoever awaits it gets what was written. */
export function generateShop(request: ShopRequest): Promise<WrittenShop> {
  const thread = new Worker(new URL('./shop-thread.js', import.meta.url), { workerData: request });
  const written = new Promise<WrittenShop>((resolve, reject) => {
    thread.once('message', resolve).once('error', reject);
    thread.once('exit', (code) =>
      reject(new Error(`the shop was not simulated: its thread ended with ${code}`)),
    );
  });
  written.catch(() => {}); // awaited later: until then a failure waits with it
  return written;
}
