import type { JSONWebKeySet, JWTVerifyGetKey } from 'jose';
import { LIMIT } from '../protocol/limits.ts';
import { ConfigurationError } from './errors.ts';
import { keySource } from './keys.ts';
import type { TaskRequest } from './verify.ts';

/** What a worker says once, to `createWorker()`, or with each `verify()`, `task()` or `iterativeTask()`. */
export interface WorkerOptions {
  /**
   * The Errand service whose requests are taken: its public URL, with `/p/{project}` for any project
   * but `default`. Tokens must carry exactly this `iss`. Default: the environment's `ERRAND_ISSUER`.
   */
  issuer?: string;
  /**
   * This worker's own public URL, as tasks name it: the origin, and a path prefix only where a proxy
   * strips one. The `Host` header is never asked, since the sender chooses it. Default: the
   * environment's `ERRAND_WORKER_URL`.
   */
  publicUrl?: string;
  /** The `aud` that tokens must carry: the queue's audience. Default: the origin of `publicUrl`. */
  audience?: string;
  /** Where the keys are fetched, if not from `{issuer}/.well-known/jwks.json`. Kept for 300 s. */
  jwksUrl?: string;
  /** The keys themselves, for tests and for workers that can't reach the service. Nothing is fetched. */
  jwks?: JSONWebKeySet;
  /** Bytes of body read before the request is refused. Default: 1 MiB (the payload limit) + 64 KiB. */
  maxBodyBytes?: number;
  /**
   * Whether the message of an error that a task throws is answered, and so kept with the attempt.
   * The stack never is. Default true.
   */
  exposeErrors?: boolean;
  /**
   * Told of every error that is answered, to log it; `task` is null when the request was refused. What
   * it throws is ignored.
   */
  onError?: (error: unknown, task: TaskRequest | null) => unknown;
}

/** Options checked and completed. */
export interface Settings {
  issuer: string;
  publicUrl: string;
  audience: string;
  keys: JWTVerifyGetKey;
  maxBodyBytes: number;
  exposeErrors: boolean;
  onError: (error: unknown, task: TaskRequest | null) => unknown;
}

const DEFAULT_MAX_BODY_BYTES = LIMIT.payloadBytes + 64 * 1024;

/** Checks the options and fills in the rest. Throws a `ConfigurationError`. */
export function resolveSettings(options: WorkerOptions = {}): Settings {
  const issuer = baseUrl(
    'issuer',
    options.issuer,
    'ERRAND_ISSUER',
    'the public URL of the service',
  );
  const publicUrl = baseUrl(
    'publicUrl',
    options.publicUrl,
    'ERRAND_WORKER_URL',
    "this worker's own public URL",
  );
  const audience = options.audience ?? new URL(publicUrl).origin;
  if (typeof audience !== 'string' || audience === '') {
    throw new ConfigurationError(`audience must be a non-empty string, got ${show(audience)}`);
  }
  const maxBodyBytes = options.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES;
  if (!Number.isSafeInteger(maxBodyBytes) || maxBodyBytes < 0) {
    throw new ConfigurationError(
      `maxBodyBytes must be an integer of at least 0, got ${show(maxBodyBytes)}`,
    );
  }
  return {
    issuer,
    publicUrl,
    audience,
    keys: keySource(options.jwks ?? jwksUrl(issuer, options.jwksUrl)),
    maxBodyBytes,
    exposeErrors: options.exposeErrors ?? true,
    onError: options.onError ?? (() => undefined),
  };
}

/** A base URL without its trailing slashes, since both sides append paths to it. */
function baseUrl(name: string, given: string | undefined, variable: string, what: string): string {
  const value = given ?? environment(variable);
  if (value === undefined || value === '') {
    throw new ConfigurationError(`${name} is missing: give ${what}, or set ${variable}`);
  }
  const url = URL.canParse(value) ? new URL(value) : null;
  const isBase =
    url !== null &&
    /^https?:$/.test(url.protocol) &&
    !/[?#]/.test(value) &&
    url.username + url.password === '';
  if (!isBase) {
    throw new ConfigurationError(
      `${name} must be an http(s) URL without query, fragment or credentials, got ${show(value)}`,
    );
  }
  return value.replace(/\/+$/, '');
}

function jwksUrl(issuer: string, given: string | undefined): URL {
  const value = given ?? `${issuer}/.well-known/jwks.json`;
  if (!URL.canParse(value) || !/^https?:$/.test(new URL(value).protocol)) {
    throw new ConfigurationError(`jwksUrl must be an http(s) URL, got ${show(value)}`);
  }
  return new URL(value);
}

/** Edge runtimes have no `process`. */
function environment(variable: string): string | undefined {
  return globalThis.process?.env?.[variable];
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? String(value);
}
