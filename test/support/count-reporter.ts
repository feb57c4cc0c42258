import type { SerializedError } from 'vitest';
import type { Reporter, TestModule } from 'vitest/node';

/**
 * Ends a run with the line `tests: N passed, N failed[, N skipped]`. What fails outside of a test
 * counts as a failed one: a file that does not load, a hook, an unhandled error, a test that was never
 * reached, the set-up of the whole run. A run that did not do all its work never reads as a success.
 */
export default class CountReporter implements Reporter {
  #passed = 0;
  #failed = 0;
  #skipped = 0;

  /** The count is written when the process exits, for vitest itself may speak after the run's end. */
  onInit(): void {
    process.once('exit', (exitCode) => {
      const failed = exitCode === 0 ? this.#failed : Math.max(this.#failed, 1);
      const skipped = this.#skipped > 0 ? `, ${this.#skipped} skipped` : '';
      process.stdout.write(`tests: ${this.#passed} passed, ${failed} failed${skipped}\n`);
    });
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const states = tests.map((test) => test.result().state);
    const count = (state: string) => states.filter((each) => each === state).length;
    this.#passed = count('passed');
    this.#skipped = count('skipped');
    this.#failed =
      count('failed') + count('pending') + unhandledErrors.length + countFailedSuites(modules);
  }
}

/** Files and describe blocks that failed by themselves, in loading or in a hook. */
function countFailedSuites(modules: readonly TestModule[]): number {
  const suites = modules.flatMap((module) => [module, ...module.children.allSuites()]);
  return suites.filter((suite) => suite.errors().length > 0).length;
}
