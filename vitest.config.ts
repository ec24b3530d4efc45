import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const alias = {
  'almanac/testing': here('core/testing.ts'),
  'almanac/client': here('clients/typescript/index.ts'),
  almanac: here('core/index.ts'),
};

// pure: no server, in seconds. servers: everything that needs one, on a stack of its own.
const pure = [
  'test/core/**/*.test.ts',
  'test/oracle/**/*.test.ts',
  'test/examples/**/*.test.ts',
  'test/house/**/*.test.ts',
  'test/clients/types.test.ts',
];

/** A property may be tried many times (npm run test:long), each of them some 10 ms where nothing else runs. */
const longMs = Number(process.env.ALMANAC_TEST_RUNS ?? 0) * 500;

// Files that need servers wait half of their time: two at once also where two cores are all.
const maxWorkers = Math.max(2, availableParallelism() - 1);

export default defineConfig({
  test: {
    maxWorkers,
    reporters: ['default', here('test/reporter.ts')],
    projects: [
      {
        resolve: { alias },
        test: { name: 'pure', include: pure, testTimeout: 120_000 + longMs, hookTimeout: 120_000 },
      },
      {
        resolve: { alias },
        test: {
          name: 'servers',
          globalSetup: [here('test/stack.setup.ts')],
          include: ['test/**/*.test.ts'],
          exclude: pure,
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
    ],
  },
});
