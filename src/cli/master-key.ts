import { randomBytes } from 'node:crypto';
import { Command } from 'commander';
import { makeSigningKey } from '../api/signing-key.ts';
import { readDatabaseConfig } from '../config.ts';
import { ErrandError } from '../errors.ts';
import { makeDataKey, projectsWrappedBy, setEncryption } from '../store/data-key.ts';
import type { Sql } from '../store/database.ts';
import { abandonSecrets, checkSecrets, rewrapSecrets } from '../store/master-key.ts';
import { revokeSigningKey } from '../store/signing-key.ts';
import { createVault, masterKeyId, type Vault } from '../store/vault.ts';
import { renderTable } from './table.ts';
import { withDatabase } from './with-database.ts';

/** `errand master-key`: what the secrets in the database are wrapped with. */
export function masterKeyCommand(): Command {
  const command = new Command('master-key').description(
    'make a master key, and wrap the secrets in the database with it',
  );
  command.command('new').description('print a new key for ERRAND_MASTER_KEY').action(printNew);
  command
    .command('rewrap')
    .description(
      'wrap every secret with the first key of ERRAND_MASTER_KEY, whatever it was wrapped with; safe to repeat',
    )
    .action(rewrap);
  command
    .command('abandon <id>')
    .description(
      'when a key was lost: replace the signing keys that it wraps, and give up the webhook secrets and all that is encrypted with its data keys',
    )
    .action(abandon);
  command
    .command('status')
    .description('tell which keys wrap how many secrets, and that all of them open')
    .action(status);
  return command;
}

/** The key alone goes to standard output, so that a script can take it from there. */
function printNew(): void {
  const key = randomBytes(32);
  process.stdout.write(`${key.toString('base64')}\n`);
  process.stderr.write(`made master key ${masterKeyId(key)}; keep it where backups are not\n`);
}

async function rewrap(): Promise<void> {
  const { masterKeys } = readDatabaseConfig(process.env);
  if (masterKeys.length === 0) {
    throw new ErrandError(
      'no-master-key',
      'ERRAND_MASTER_KEY must have the key to wrap with, but it is not set: `errand master-key new` makes one; give it to every process first',
    );
  }
  const vault = createVault(masterKeys);
  const changed = await withDatabase((sql) => rewrapSecrets(sql, vault));
  process.stdout.write(`wrapped ${changed} secrets with master key ${vault.keyId}\n`);
}

async function abandon(id: string): Promise<void> {
  const vault = createVault(readDatabaseConfig(process.env).masterKeys);
  const { queues, dataKeys, signingKeys } = await withDatabase(async (sql) => {
    await replaceDataKeys(sql, vault, id);
    const abandoned = await abandonSecrets(sql, id);
    for (const { project, kid } of abandoned.signingKeys) {
      const successor = await makeSigningKey('ES256', vault);
      await revokeSigningKey(sql, project, kid, successor);
    }
    return abandoned;
  });
  process.stdout.write(
    `replaced ${signingKeys.length} signing keys, removed the webhook secrets of ${queues} queues, gave up ${dataKeys} data keys\n`,
  );
}

/** Before the old ones are given up, so that whoever encrypts goes on to. */
async function replaceDataKeys(sql: Sql, vault: Vault, id: string): Promise<void> {
  for (const project of await projectsWrappedBy(sql, id)) {
    const wrapped = makeDataKey(vault, project);
    if (wrapped === null) {
      throw new ErrandError(
        'no-master-key',
        `ERRAND_MASTER_KEY must have a new key, as project ${project} encrypts its payloads, but it is not set: \`errand master-key new\` makes one, \`errand project set ${project} --encrypt-payloads off\` does without`,
      );
    }
    await setEncryption(sql, project, wrapped, { isRenewed: true });
  }
}

async function status(): Promise<void> {
  const vault = createVault(readDatabaseConfig(process.env).masterKeys);
  const { unwrapped, wrapped } = await withDatabase((sql) => checkSecrets(sql, vault));
  const rows = [...(unwrapped > 0 ? [['none', unwrapped]] : []), ...wrapped];
  process.stdout.write(renderTable(['master key', 'secrets'], rows));
}
