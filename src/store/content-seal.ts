import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from 'node:crypto';
import { ErrandError } from '../errors.ts';
import type { Seal } from '../model.ts';

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

const ALGORITHM = 'aes-256-gcm';
const IV_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Encrypts what a task carries: AES-256-GCM with a random iv of 96 bits for headers and for body, which
 * stands before the ciphertext as the tag of 16 bytes stands behind it. Both are bound to project, queue
 * and to what they are, so that neither opens in another place; the task's id is not known yet.
 * Source: NIST SP 800-38D, 8.2.2; by its 8.3, a key is good for 2³² values.
 */
export function sealContent(key: DataKey, queue: number, content: TaskContent): SealedContent {
  const headers = content.headers && Buffer.from(JSON.stringify(content.headers));
  return {
    dataKey: key.id,
    headers: headers && seal(key, place(key, queue, 'headers'), headers).toString('base64url'),
    body: seal(key, place(key, queue, 'body'), content.body),
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

function place({ project }: DataKey, queue: number, part: 'headers' | 'body'): Buffer {
  return Buffer.from(`task/${project}/${queue}/${part}`);
}

function seal({ secret }: DataKey, at: Buffer, bytes: Uint8Array): Buffer {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv(ALGORITHM, secret, iv).setAAD(at);
  return Buffer.concat([iv, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
}

function open({ id, secret }: DataKey, at: Buffer, sealed: Uint8Array): Buffer {
  try {
    const decipher = createDecipheriv(ALGORITHM, secret, sealed.subarray(0, IV_BYTES), {
      authTagLength: TAG_BYTES,
    })
      .setAAD(at)
      .setAuthTag(sealed.subarray(-TAG_BYTES));
    const bytes = decipher.update(sealed.subarray(IV_BYTES, -TAG_BYTES));
    return Buffer.concat([bytes, decipher.final()]);
  } catch (cause) {
    throw new ContentError(
      `its content does not open with data key ${id}: it was altered, or copied from another queue; restore it from a backup`,
      { cause },
    );
  }
}
