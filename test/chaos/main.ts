/**
 * The chaos suite: `npm run chaos`. It breaks real processes of the service, their Postgres and what
 * lies between them, under load, and checks in the manner of Jepsen's total-queue that every task which
 * was answered 201 ended delivered or dead, once but for the calls that a fault cut off.
 *
 * ```text
 * npm run chaos                          the whole matrix, about 15 minutes; ends with 1 if a figure is missed
 * npm run chaos -- --only 'kill'         the faults whose name contains that
 * npm run chaos -- --seed 7              chooses what to break as the run did that printed this seed
 * npm run chaos -- --short               what `npm test` runs of it (chaos.test.ts)
 * npm run chaos -- --logs here           leaves logs, attempts and calls of the last run in that folder
 * ```
 * A row of the table is a fault (`scenarios/`) in a world of its own (`world.ts`): tasks acknowledged;
 * *lost*: acknowledged, and neither delivered nor dead; *unexpected*: called though never enqueued, made
 * twice, or by a used lease; *duplicated*: called again though not asked for, at most as often as calls
 * were *in flight* at the faults; *recovered*: delivered though the answer to their enqueue was lost;
 * *again*: the longest wait for a call of a new task once the database was back, 5 s at most. After each
 * run `errand verify` must find nothing, and whoever is asked to leave must end with 0.
 *
 * The same seed breaks the same things in the same order; what the machine does in between is its own.
 */
import { parseArgs } from 'node:util';
import { createRandom } from './random.ts';
import { runScenario } from './run-scenario.ts';
import { SCENARIOS } from './scenarios/index.ts';
import { problemsOf, renderResults, type Result } from './table.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
    only: { type: 'string', default: '' },
    logs: { type: 'string' },
    short: { type: 'boolean', default: false },
  },
});
const seed = Number(values.seed);
const chosen = SCENARIOS.filter(({ name }) => name.includes(values.only)).filter(
  ({ isInShort }) => isInShort || !values.short,
);

// What was started ends with this process, but not with one that a signal ends at once.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));

console.log(`seed ${seed}`);
const results: Result[] = [];
for (const scenario of chosen) {
  process.stdout.write(`${scenario.name} … `);
  const how = { random: createRandom(seed), isShort: values.short, logs: values.logs };
  const result = await runScenario(scenario, how);
  results.push(result);
  const problems = problemsOf(result);
  console.log(
    problems.length === 0 ? result.kind : 'FAILED',
    `(${result.tookSeconds.toFixed(0)} s)`,
  );
  for (const problem of problems) console.log(`  ${problem}`);
}
console.log(`\n${renderResults(results)}`);
process.exit(results.flatMap(problemsOf).length === 0 ? 0 : 1);
