import { hash } from 'node:crypto';
import { ErrandError } from '../errors.ts';
import { IV_BYTES, openBytes, sealBytes } from './sealed-bytes.ts';

/**
 * Wraps secrets before they are written, so that a dump of the database alone gives nothing away.
 * Without a master key it lets them through as they are.
 */
export interface Vault {
  /** Id of the key that wraps; null without one. */
  readonly keyId: string | null;
  /** `context` names the row, so that an envelope that was copied to another does not open there. */
  seal<Secret>(secret: Secret, context: string): Secret | Envelope;
  /**
   * Opens what any of the master keys wrapped, and what was written before there was one.
   *
   * @throws ErrandError `master-key-missing` when none of ours wrapped it, `master-key-wrong` when it
   * was altered, or belongs to another row
   */
  open<Secret>(sealed: Secret | Envelope, context: string): Secret;
}

/** AES-256-GCM. Texts are base64url; `data` ends with the tag of 16 bytes. */
export type Envelope = {
  v: 1;
  /** Id of the master key. */
  key: string;
  iv: string;
  data: string;
};

/**
 * `masterKeys`: 32 bytes each. The first wraps; the others only open, while they are being replaced.
 * A random iv of 96 bits is safe for 2³² secrets a key (NIST SP 800-38D, 8.3): we keep a few hundred.
 */
export function createVault(masterKeys: readonly Uint8Array[]): Vault {
  const keys = new Map(masterKeys.map((key) => [masterKeyId(key), key]));
  const [first] = keys;

  function seal<Secret>(secret: Secret, context: string): Secret | Envelope {
    if (first === undefined) return secret;
    const [id, key] = first;
    const sealed = sealBytes(key, context, JSON.stringify(secret));
    return {
      v: 1,
      key: id,
      iv: sealed.toString('base64url', 0, IV_BYTES),
      data: sealed.toString('base64url', IV_BYTES),
    };
  }

  function open<Secret>(sealed: Secret | Envelope, context: string): Secret {
    if (!isEnvelope(sealed)) return sealed;
    const key = keys.get(sealed.key);
    if (key === undefined) throw missing(sealed.key, [...keys.keys()]);
    const parts = [sealed.iv, sealed.data].map((part) => Buffer.from(part, 'base64url'));
    try {
      return JSON.parse(openBytes(key, context, Buffer.concat(parts)).toString());
    } catch (cause) {
      throw new ErrandError(
        'master-key-wrong',
        `The secret of ${context} does not open with master key ${sealed.key}: it was altered or copied from another row; restore it from a backup`,
        { cause },
      );
    }
  }

  return { keyId: first?.[0] ?? null, seal, open };
}

/** What a master key is called in envelopes and messages; it gives nothing of the key away. */
export function masterKeyId(key: Uint8Array): string {
  return hash('sha256', Buffer.concat([Buffer.from('errand master key\n'), key])).slice(0, 8);
}

/**
 * True when a secret does not open with the master keys of this process: nothing is wrong with what it is
 * needed for, which another process may do, or this one with the right key.
 */
export function isLocked(error: unknown): boolean {
  const code = error instanceof ErrandError ? error.code : '';
  return code === 'master-key-missing' || code === 'master-key-wrong';
}

export function isEnvelope(sealed: unknown): sealed is Envelope {
  const { v, key } = (sealed ?? {}) as Partial<Envelope>;
  return v === 1 && typeof key === 'string';
}

function missing(wanted: string, known: readonly string[]): ErrandError {
  const got = known.length === 0 ? 'it is not set' : `it has ${known.join(' and ')}`;
  return new ErrandError(
    'master-key-missing',
    `ERRAND_MASTER_KEY must have the key ${wanted}, which wraps secrets of this database, but ${got}: set it to that key, or to the new and the old one with a comma between them; if the key is lost, run \`errand master-key abandon ${wanted}\``,
  );
}
