import type { KeyObject } from 'node:crypto';
import { ErrandError } from '../errors.ts';
import type { Seal } from '../model.ts';
import { openBytes, sealBytes } from './sealed-bytes.ts';

/** What a task carries to its target. */
export interface TaskContent {
  headers: Record<string, string> | null;
  body: Uint8Array;
}

/** The same as its row holds it, where its project encrypts. */
export interface SealedContent extends Seal {
  body: Uint8Array;
}

/** A project's key for what its tasks carry, unwrapped. */
export interface DataKey {
  id: number;
  project: string;
  /** 32 bytes. */
  secret: KeyObject;
}

/** What lies there does not open, and no master key and no waiting will change that. */
export class ContentError extends ErrandError {
  constructor(message: string, options?: { cause?: unknown }) {
    super('content-unreadable', message, options);
  }
}

/**
 * Encrypts what a task carries, headers and body each by itself. Both are bound to project, queue and to what
 * they are, so that neither opens in another place; the task's id is not known yet.
 */
export function sealContent(key: DataKey, queue: number, content: TaskContent): SealedContent {
  const { secret } = key;
  const headers = content.headers && JSON.stringify(content.headers);
  return {
    dataKey: key.id,
    headers:
      headers && sealBytes(secret, place(key, queue, 'headers'), headers).toString('base64url'),
    body: sealBytes(secret, place(key, queue, 'body'), content.body),
  };
}

/**
 * Headers that were sealed; none where it has none.
 *
 * @throws ContentError when they were altered, or sealed for another project or queue, or by another key
 */
export function openHeaders(
  key: DataKey,
  queue: number,
  { headers }: Seal,
): Record<string, string> {
  if (headers === null) return {};
  const sealed = Buffer.from(headers, 'base64url');
  return JSON.parse(open(key, place(key, queue, 'headers'), sealed).toString());
}

/** A body that was sealed. Throws as `openHeaders` does. */
export function openBody(key: DataKey, queue: number, sealed: Uint8Array): Buffer {
  return open(key, place(key, queue, 'body'), sealed);
}

/** Content as a row of `errand.task` holds it. */
interface StoredContent {
  /** Sealed, they are one string. */
  headers: StoredHeaders;
  data_key: number | null;
}

export type StoredHeaders = Record<string, string> | string | null;

/** The headers of a row as far as they can be read without a key. */
export function headersOf({ headers, data_key }: StoredContent): Record<string, string> {
  return data_key === null && headers !== null ? (headers as Record<string, string>) : {};
}

export function sealOf({ headers, data_key }: StoredContent): Seal | null {
  return data_key === null ? null : { dataKey: data_key, headers: headers as string | null };
}

function place({ project }: DataKey, queue: number, part: 'headers' | 'body'): string {
  return `task/${project}/${queue}/${part}`;
}

function open({ id, secret }: DataKey, at: string, sealed: Uint8Array): Buffer {
  try {
    return openBytes(secret, at, sealed);
  } catch (cause) {
    throw new ContentError(
      `its content does not open with data key ${id}: it was altered, or copied from another queue; restore it from a backup`,
      { cause },
    );
  }
}
