/** The hostile targets in a process of their own, so that what they hold is not counted as ours. */
import { startHostileTargets } from './hostile-targets.ts';

const { targets, close } = await startHostileTargets();
process.once('disconnect', () => void close());
process.send?.(targets);
