import { join } from 'node:path';

/** The command as the package has it: from its sources each process would also hold what strips their types, 30 MB. */
export const PROGRAM = join(import.meta.dirname, '../dist/cli/errand.js');
