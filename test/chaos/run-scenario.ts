import type { How, Scenario } from './scenario.ts';
import type { Result } from './table.ts';

/** Runs one to its verdict. Never throws: what cannot be judged is told as broken. */
export async function runScenario(scenario: Scenario, how: How): Promise<Result> {
  const { name } = scenario;
  const startMs = performance.now();
  const tookSeconds = () => (performance.now() - startMs) / 1_000;
  try {
    const why = (await scenario.obstacle?.()) ?? null;
    if (why !== null) return { kind: 'skipped', name, why, tookSeconds: tookSeconds() };
    const report = await scenario.run(how);
    return { kind: 'judged', name, report, tookSeconds: tookSeconds() };
  } catch (error) {
    return { kind: 'broken', name, why: String(error), tookSeconds: tookSeconds() };
  }
}
