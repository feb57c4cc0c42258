import type { Environment } from '../config.ts';
import { ErrandError } from '../errors.ts';

/** What a code of the driver or of Postgres means for whoever starts errand. */
const DATABASE_REASONS: Record<string, string> = {
  ENOENT: 'there is no such socket; start PostgreSQL, or correct DATABASE_URL',
  ECONNREFUSED: 'nothing listens there; start PostgreSQL, or correct DATABASE_URL',
  ENOTFOUND: 'there is no such host; correct DATABASE_URL',
  EAI_AGAIN: 'its host name could not be looked up; check DATABASE_URL and the name server',
  EHOSTUNREACH: 'there is no way to its host; check DATABASE_URL and the network',
  ENETUNREACH: 'there is no way to its network; check DATABASE_URL and the network',
  CONNECT_TIMEOUT: 'it did not answer in time; check DATABASE_URL, the network and its firewall',
  CONNECTION_REFUSED:
    'what answers there closes connections at once; look at the proxy or pooler in between, or correct DATABASE_URL',
  '28P01': 'the password is wrong; correct DATABASE_URL',
  '28000': 'the server does not let this user in; check the user in DATABASE_URL and pg_hba.conf',
  '3D000': 'there is no such database; create it, or correct DATABASE_URL',
  '53300': 'the server has no connection left; raise its max_connections, or close others',
  '57P03': 'the server is starting up or shutting down; try again in a moment',
  '25006': 'it is read-only, probably a standby; point DATABASE_URL at the primary',
  '42501':
    'the user may not do this; grant it CREATE on the database and ownership of schema errand',
};

/** Of a statement that stands alone: within a migration they would mean something else. */
const SCHEMA_REASONS: Record<string, string> = {
  '42P01': 'it has no schema of errand yet, or an older one; run `errand migrate`',
  '42703': 'its schema of errand is an older one; run `errand migrate`',
  '3F000': 'it has no schema of errand yet; run `errand migrate`',
};

const LISTEN_REASONS: Record<string, string> = {
  EADDRINUSE: 'it is in use; stop the program that listens there, or set ERRAND_PORT to another',
  EACCES: 'this user may not; set ERRAND_PORT to 1024 or higher',
  EADDRNOTAVAIL: 'this machine has no such address; correct ERRAND_HOST',
  ENOTFOUND: 'there is no such host; correct ERRAND_HOST',
  EAI_AGAIN: 'its name could not be looked up; check ERRAND_HOST and the name server',
};

const FILE_REASONS: Record<string, string> = {
  EACCES: 'this user may not; change its owner, or set ERRAND_DATA_DIR to another directory',
  EPERM: 'this user may not; change its owner, or set ERRAND_DATA_DIR to another directory',
  EROFS: 'the file system is read-only; set ERRAND_DATA_DIR to another directory',
  ENOSPC: 'the disk is full; make room, or set ERRAND_DATA_DIR to another directory',
  ENOTDIR: 'a part of the path is a file; set ERRAND_DATA_DIR to another directory',
  EEXIST: 'it is a file; set ERRAND_DATA_DIR to another directory',
};

/** Prints what went wrong, and what to do about it, on standard error; the process will end with 1. */
export function reportError(error: unknown): void {
  const lines = explainError(error).split('\n');
  process.stderr.write(lines.map((line) => `errand: ${line}\n`).join(''));
  if (/^(debug|trace)$/.test(process.env.ERRAND_LOG_LEVEL ?? '') && error instanceof Error) {
    process.stderr.write(`${error.stack}\n`);
  }
  process.exitCode = 1;
}

/** One line that says what could not be done, why, and what to do. A ConfigError has one a setting. */
export function explainError(error: unknown, env: Environment = process.env): string {
  const origin = findOrigin(error);
  const isAlone = origin === error;
  return (
    (origin && explainOrigin(origin, isAlone, env)) ??
    (error instanceof ErrandError ? error.message : explainUnknown(error))
  );
}

/** What the system, the driver or Postgres threw, be it behind an error of ours. */
interface Origin extends Error {
  code: string;
  syscall?: string;
  path?: string;
  hostname?: string;
  address?: string;
  port?: number;
}

function findOrigin(error: unknown): Origin | null {
  if (!(error instanceof Error)) return null;
  if (error instanceof ErrandError) return findOrigin(error.cause);
  return typeof (error as Partial<Origin>).code === 'string' ? (error as Origin) : null;
}

function explainOrigin(origin: Origin, isAlone: boolean, env: Environment): string | null {
  const { code, syscall, path } = origin;
  const isOwnHost = syscall === 'getaddrinfo' && !env.DATABASE_URL?.includes(origin.hostname ?? '');
  const isListening = syscall === 'listen' || isOwnHost;
  if (isListening && LISTEN_REASONS[code]) {
    return `Cannot listen on ${namePlace(origin)}: ${LISTEN_REASONS[code]}`;
  }
  if (syscall !== 'connect' && path !== undefined && FILE_REASONS[code]) {
    return `Cannot write ${path}: ${FILE_REASONS[code]}`;
  }
  const reason = DATABASE_REASONS[code] ?? (isAlone ? SCHEMA_REASONS[code] : undefined);
  if (reason && (code !== 'ENOENT' || syscall === 'connect')) {
    return `Cannot use ${nameDatabase(env)}: ${reason}`;
  }
  const isPostgres = isAlone && origin.name === 'PostgresError';
  return isPostgres ? `Cannot use ${nameDatabase(env)}: ${firstLine(origin)} (${code})` : null;
}

function namePlace({ address, hostname, port }: Origin): string {
  return port === undefined ? String(hostname ?? address) : `port ${port} of ${address}`;
}

/** The database as its URL names it, but for the password. */
function nameDatabase({ DATABASE_URL = '' }: Environment): string {
  const url = URL.parse(DATABASE_URL.replace(/,[^/?]*/, ''));
  if (url === null) return 'the embedded database';
  const user = url.username ? ` as ${decodeURIComponent(url.username)}` : '';
  return `the database ${decodeURIComponent(url.pathname.slice(1))} at ${url.host}${user}`;
}

function explainUnknown(error: unknown): string {
  const line = error instanceof Error ? firstLine(error) : String(error);
  return `${line}; set ERRAND_LOG_LEVEL=debug to see where it comes from`;
}

function firstLine(error: Error): string {
  return error.message.split('\n')[0] || error.name;
}
