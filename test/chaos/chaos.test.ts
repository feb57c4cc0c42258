import { describe, expect, test } from 'vitest';
import { createRandom } from './random.ts';
import { runScenario } from './run-scenario.ts';
import { SCENARIOS } from './scenarios/index.ts';
import { problemsOf } from './table.ts';

const SEED = Number(process.env.CHAOS_SEED ?? 1);
const TIMEOUT_MS = 180_000;

describe('chaos, in short: nothing lost, nothing unexpected, nothing twice without a fault', () => {
  for (const scenario of SCENARIOS.filter(({ isInShort }) => isInShort)) {
    test(scenario.name, { timeout: TIMEOUT_MS }, async (context) => {
      const result = await runScenario(scenario, { random: createRandom(SEED), isShort: true });
      if (result.kind === 'skipped') return context.skip(result.why);
      expect(problemsOf(result)).toEqual([]);
    });
  }
});
