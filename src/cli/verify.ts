import { Command } from 'commander';
import { verifyRooms } from '../store/verify.ts';
import { renderTable } from './table.ts';
import { withDatabase } from './with-database.ts';

/** `errand verify`: ends with 1 when a task is not in exactly one room. */
export function verifyCommand(): Command {
  return new Command('verify')
    .description('check that every task is in exactly one state; reads everything, changes nothing')
    .action(runVerify);
}

async function runVerify(): Promise<void> {
  const { tasks, problems } = await withDatabase(verifyRooms);
  if (problems.length === 0) {
    process.stdout.write(`${tasks} ${tasks === 1 ? 'task' : 'tasks'}, no problems\n`);
    return;
  }
  const rows = problems.map(({ kind, count, examples }) => [kind, count, examples.join(' ')]);
  process.stdout.write(renderTable(['problem', 'tasks', 'for example'], rows));
  const kinds =
    problems.length === 1 ? '1 kind of problem' : `${problems.length} kinds of problems`;
  process.stderr.write(`errand: ${kinds}\n`);
  process.exitCode = 1;
}
