import { Command, Option } from 'commander';
import { makeSigningKey } from '../api/signing-key.ts';
import { readDatabaseConfig } from '../config.ts';
import { ErrandError } from '../errors.ts';
import { DEFAULT_PROJECT } from '../model.ts';
import { JWKS_MAX_AGE_SECONDS, TOKEN_ALGORITHMS, type TokenAlgorithm } from '../protocol/token.ts';
import type { Sql } from '../store/database.ts';
import { projectExists } from '../store/project.ts';
import {
  activeSigningKey,
  listSigningKeys,
  revokeSigningKey,
  rotateSigningKey,
  type SigningKeyRecord,
} from '../store/signing-key.ts';
import { createVault, type Vault } from '../store/vault.ts';
import { parseDuration } from './duration.ts';
import { noProject } from './project.ts';
import { renderTable } from './table.ts';
import { withDatabase } from './with-database.ts';

interface Options {
  project: string;
}

interface RotateOptions extends Options {
  algorithm?: TokenAlgorithm;
  in: number;
  now?: boolean;
}

/** Caches along the way, and those of workers, have seen a new key by then, most of them many times. */
const DEFAULT_LEAD_SECONDS = 3_600;

/** `errand signing-key`: the keys that a project's tokens are signed with. */
export function signingKeyCommand(): Command {
  const command = new Command('signing-key').description('list, rotate and revoke signing keys');
  const about = 'the project it belongs to';
  command
    .command('list')
    .description("list a project's keys, the newest first")
    .option('--project <name>', about, DEFAULT_PROJECT)
    .action(list);
  command
    .command('rotate')
    .description('publish a new key now, and sign with it once every worker can know it')
    .option('--project <name>', about, DEFAULT_PROJECT)
    .addOption(
      new Option('--algorithm <name>', 'as before, unless given').choices([...TOKEN_ALGORITHMS]),
    )
    .option('--in <duration>', 'when it signs (default: 1h)', parseDuration, DEFAULT_LEAD_SECONDS)
    .option('--now', 'sign with it at once: workers that cache the old keys refuse it for a while')
    .action(rotate);
  command
    .command('revoke <kid>')
    .description('in an emergency: take a key out of use and out of the JWKS at once')
    .option('--project <name>', about, DEFAULT_PROJECT)
    .action(revoke);
  return command;
}

async function list({ project }: Options): Promise<void> {
  const keys = await withDatabase(async (sql) => {
    if (!(await projectExists(sql, project))) throw noProject(project);
    return listSigningKeys(sql, project);
  });
  const headings = ['kid', 'algorithm', 'state', 'signs from', 'leaves the JWKS'];
  process.stdout.write(renderTable(headings, keys.map(row)));
}

function row({ kid, algorithm, state, signsFrom, leavesAt }: SigningKeyRecord): string[] {
  const begin = signsFrom?.toISOString() ?? 'the start';
  return [kid, algorithm, state, begin, leavesAt?.toISOString() ?? '-'];
}

async function rotate(options: RotateOptions): Promise<void> {
  const { project } = options;
  const leadSeconds = options.now ? 0 : options.in;
  const { kid, signsFrom } = await withVault(async (sql, vault) => {
    const algorithm = options.algorithm ?? (await algorithmOf(sql, project));
    const key = await makeSigningKey(algorithm, vault);
    const rotated = await rotateSigningKey(sql, project, key, leadSeconds);
    if (rotated === null) throw noProject(project);
    return { kid: key.kid, ...rotated };
  });
  process.stdout.write(`key ${kid} is published, and signs from ${signsFrom.toISOString()}\n`);
  if (leadSeconds >= 2 * JWKS_MAX_AGE_SECONDS) return;
  process.stderr.write(
    `workers may cache the keys for ${JWKS_MAX_AGE_SECONDS} s: until then some may refuse what it signs, which is retried\n`,
  );
}

async function revoke(kid: string, { project }: Options): Promise<void> {
  const isRevoked = await withVault(async (sql, vault) => {
    const successor = await makeSigningKey(await algorithmOf(sql, project), vault);
    return revokeSigningKey(sql, project, kid, successor);
  });
  if (!isRevoked) {
    throw new ErrandError(
      'no-such-signing-key',
      `Project ${project} has no key ${kid} in use: \`errand signing-key list --project ${project}\` lists them`,
    );
  }
  process.stdout.write(`revoked key ${kid}\n`);
  process.stderr.write(
    `dispatchers stop signing with it within a second; workers that cached it trust it for up to ${JWKS_MAX_AGE_SECONDS} s more: restart those that must not\n`,
  );
}

/** A command that makes keys wraps them as the service does: with the same ERRAND_MASTER_KEY. */
function withVault<Result>(work: (sql: Sql, vault: Vault) => Promise<Result>): Promise<Result> {
  const vault = createVault(readDatabaseConfig(process.env).masterKeys);
  return withDatabase((sql) => work(sql, vault));
}

async function algorithmOf(sql: Sql, project: string): Promise<TokenAlgorithm> {
  const active = await activeSigningKey(sql, project);
  return TOKEN_ALGORITHMS.find((each) => each === active?.algorithm) ?? 'ES256';
}
