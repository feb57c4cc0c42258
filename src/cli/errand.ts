#!/usr/bin/env -S node --max-semi-space-size=16
/**
 * The command line. Each command is a file of this folder; what they need of the other rooms is
 * imported when they run, so that `--help` and `--version` answer at once.
 */
import { Command } from 'commander';
import { devCommand } from './dev.ts';
import { dispatchCommand } from './dispatch.ts';
import { drainCommand } from './drain.ts';
import { dispatchersCommand } from './dispatchers.ts';
import { reportError } from './explain-error.ts';
import { keyCommand } from './key.ts';
import { masterKeyCommand } from './master-key.ts';
import { migrateCommand } from './migrate.ts';
import { openapiCommand } from './openapi.ts';
import { projectCommand } from './project.ts';
import { serveCommand } from './serve.ts';
import { signingKeyCommand } from './signing-key.ts';
import { verifyCommand } from './verify.ts';
import { readVersion } from './version.ts';

const program = new Command('errand')
  .description('A push task queue on your own Postgres.')
  .version(readVersion(), '--version', 'print the version')
  .helpOption('-h, --help', 'print help, also of a command: errand serve --help')
  .helpCommand(false)
  .showHelpAfterError('Run `errand --help` for what there is.')
  .addCommand(devCommand())
  .addCommand(serveCommand())
  .addCommand(dispatchCommand())
  .addCommand(drainCommand())
  .addCommand(migrateCommand())
  .addCommand(dispatchersCommand())
  .addCommand(verifyCommand())
  .addCommand(keyCommand())
  .addCommand(projectCommand())
  .addCommand(signingKeyCommand())
  .addCommand(masterKeyCommand())
  .addCommand(openapiCommand());

try {
  await program.parseAsync();
} catch (error) {
  reportError(error);
}
