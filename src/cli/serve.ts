import { Command } from 'commander';
import { type Flags, readConfig } from '../config.ts';
import { ENVIRONMENT_HELP } from './environment-help.ts';
import { runService } from './run-service.ts';

/** `errand serve`: production, on the Postgres that DATABASE_URL names. */
export function serveCommand(): Command {
  return new Command('serve')
    .description('run in production, on the Postgres of DATABASE_URL')
    .option('--host <address>', 'listen here (default: 127.0.0.1)')
    .option('--port <number>', 'listen on this port (default: 8484)')
    .addHelpText('after', ENVIRONMENT_HELP)
    .action(runServe);
}

async function runServe(flags: Omit<Flags, 'mode'>): Promise<void> {
  await runService(readConfig(process.env, { ...flags, mode: 'serve' }));
}
