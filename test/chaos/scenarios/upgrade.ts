/** Processes of two versions on one database, of which the newer has expanded the schema. */
import { cp, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { scenario } from '../scenario.ts';

const LOAD_PER_SECOND = 200;
const TREE = join(import.meta.dirname, '../../..');
const TABLES = ['task', 'ready', 'scheduled', 'lease', 'finished', 'attempt', 'queue'];

export const upgraded = scenario('a rolling upgrade, both versions live', async (world) => {
  const next = await makeNextVersion(world.folder);
  world.load.start(LOAD_PER_SECOND);
  const older = { api: [...world.apis], dispatcher: [...world.dispatchers] };
  for (const role of ['api', 'dispatcher'] as const) {
    for (const service of older[role]) {
      await world.start(role, {}, next);
      await pause(1_000);
      await world.leave(service);
    }
  }
  await pause(1_000);
});

/**
 * This version's own source with what the next one would bring: a column for each table, in a migration
 * of its own, for one that locked several tables of a system at work could deadlock with it.
 */
async function makeNextVersion(folder: string): Promise<string> {
  const next = join(folder, 'next');
  for (const name of ['src', 'migrations', 'package.json', 'openapi.yaml']) {
    await cp(join(TREE, name), join(next, name), { recursive: true });
  }
  await symlink(join(TREE, 'node_modules'), join(next, 'node_modules'));
  const { length } = await readdir(join(next, 'migrations'));
  for (const [index, table] of TABLES.entries()) {
    const number = String(length + index + 1).padStart(4, '0');
    const text = `alter table errand.${table} add column since_next integer default 7;\n`;
    await writeFile(join(next, 'migrations', `${number}_${table}.sql`), text);
  }
  return join(next, 'src/cli/errand.ts');
}
