import { type Logger, pino, stdTimeFunctions } from 'pino';
import type { Config } from '../config.ts';
import { ErrandError } from '../errors.ts';

/** Fields that may carry a secret or somebody's data, under whatever name a caller passes them. */
const SECRET_FIELDS = [
  'authorization',
  'Authorization',
  'headers',
  'payload',
  'body',
  'output',
  'key',
  'adminKey',
  'secret',
  'token',
  'password',
  'databaseUrl',
];

/**
 * The service's log on standard output: a line of JSON each, and for people at a terminal in `dev` a
 * line of text. What is secret is cut out here, whatever a caller passes.
 */
export function createLog(
  config: Pick<Config, 'mode' | 'logLevel'>,
  output: LogOutput = process.stdout,
): Logger {
  const options = {
    level: config.logLevel,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError, error: describeError },
    redact: { paths: SECRET_FIELDS.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
  };
  const isForPeople = config.mode === 'dev' && output.isTTY;
  const write = (line: string) => output.write(isForPeople ? renderLine(line) : line);
  return pino(options, { write });
}

/** What the log needs of a stream. */
export interface LogOutput {
  isTTY?: boolean;
  write(text: string): unknown;
}

/** `08:31:04 warn  cannot reach the database  code=ECONNREFUSED` */
export function renderLine(json: string): string {
  const { level, time, msg = '', pid: _, hostname: __, ...fields } = JSON.parse(json);
  const clock = new Date(time).toTimeString().slice(0, 8);
  const pairs = Object.entries(fields).map(([name, value]) => `${name}=${renderValue(value)}`);
  return `${[`${clock} ${String(level).padEnd(5)} ${msg}`, ...pairs].join('  ')}\n`;
}

function renderValue(value: unknown): string {
  return typeof value === 'string' && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}

/**
 * Postgres quotes values, and so payloads, in its messages and details: of its errors, and of any that
 * is not known to be ours, only code, class and the lines of the stack are told.
 */
export function describeError(error: unknown): object {
  if (!(error instanceof Error)) return { type: typeof error };
  const { code } = error as { code?: unknown };
  const isOurs = error instanceof ErrandError;
  return {
    type: error.name,
    ...(typeof code === 'string' ? { code } : {}),
    ...(isOurs ? { message: error.message } : {}),
    stack: error.stack
      ?.split('\n')
      .filter((line) => /^\s+at /.test(line))
      .join('\n'),
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
  };
}
