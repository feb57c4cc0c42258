/** A minute's check that nothing has made Errand slower than a plain loop of the same signed calls. */
import { measureDrain } from './figures/drain.ts';
import { runBench } from './run.ts';

const TASKS = 30_000;
const ROUNDS = 3;
const LEAST = 1;

await runBench(['plain-loop', 'errand'], async (bench, say) => {
  const drain = await measureDrain(bench, { tasks: TASKS, rounds: ROUNDS, say });
  const ratio = drain.errand!.drainRate / drain['plain-loop']!.drainRate;
  say(`drain ÷ plain loop is ${ratio.toFixed(2)}`);
  if (ratio >= LEAST) return;
  console.error(
    `\nTOO SLOW: drain ÷ plain loop must be ${LEAST.toFixed(1)} or more, got ${ratio.toFixed(2)}`,
  );
  process.exitCode = 1;
});
