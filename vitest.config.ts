import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { conditions: ['errand-source', 'node', 'module'] },
  ssr: { resolve: { conditions: ['errand-source', 'node', 'module'] } },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    reporters: ['default', './test/support/count-reporter.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
