/** Simulates the shop in a thread of its own: ten seconds of computing in which the servers start. See generate.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { writeShop } from '../../examples/shop/simulate.js';
import type { ShopRequest } from './generate.js';

const { directory, seed } = workerData as ShopRequest;
parentPort!.postMessage(await writeShop(directory, { seed }));
