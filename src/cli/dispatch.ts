import { Command } from 'commander';
import { type Flags, readConfig } from '../config.ts';
import { ENVIRONMENT_HELP } from './environment-help.ts';
import { runService } from './run-service.ts';

/** `errand dispatch`: a dispatcher alone, beside an API that runs elsewhere. */
export function dispatchCommand(): Command {
  return new Command('dispatch')
    .description(
      'run a dispatcher alone, for the queues of one pool, on the Postgres of DATABASE_URL',
    )
    .option('--pool <name>', 'serve the queues that are set to this pool (default: default)')
    .option('--concurrency <number>', 'calls in flight, 1 to 10000 (default: 128)')
    .addHelpText('after', ENVIRONMENT_HELP)
    .action(runDispatch);
}

async function runDispatch(flags: Omit<Flags, 'mode'>): Promise<void> {
  await runService(readConfig(process.env, { ...flags, mode: 'dispatch' }));
}
