import { Command } from 'commander';
import { migrate } from '../store/migrate.ts';
import { withDatabase } from './with-database.ts';

/** `errand migrate`: what `errand serve` also does at its start, for a role that may not. */
export function migrateCommand(): Command {
  return new Command('migrate')
    .description('bring the database up to this version of errand; safe to repeat')
    .action(runMigrate);
}

async function runMigrate(): Promise<void> {
  const applied = await withDatabase((sql) => migrate(sql, tellContended));
  const lines = applied.map((name) => `applied ${name}\n`);
  process.stdout.write(lines.join('') || 'nothing to do: the database is up to date\n');
}

function tellContended(what: string, code: string): void {
  process.stderr.write(`${what}: others hold its locks (${code}), trying again\n`);
}
