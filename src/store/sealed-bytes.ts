import { type CipherKey, createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

const ALGORITHM = 'aes-256-gcm';
export const IV_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Encrypts bytes with AES-256-GCM: a random iv of 12 bytes, the ciphertext, a tag of 16 bytes. `context` says
 * where they belong, and they open nowhere else. `key`: 32 bytes, good for 2³² values.
 * Source: NIST SP 800-38D, 8.2.2 and 8.3.
 */
export function sealBytes(key: CipherKey, context: string, bytes: Uint8Array | string): Buffer {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv(ALGORITHM, key, iv).setAAD(Buffer.from(context));
  const text = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
  return Buffer.concat([iv, cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

/** What was sealed. Throws when it was altered, or sealed with another key or for another context. */
export function openBytes(key: CipherKey, context: string, sealed: Uint8Array): Buffer {
  const options = { authTagLength: TAG_BYTES };
  const decipher = createDecipheriv(ALGORITHM, key, sealed.subarray(0, IV_BYTES), options)
    .setAAD(Buffer.from(context))
    .setAuthTag(sealed.subarray(-TAG_BYTES));
  const bytes = decipher.update(sealed.subarray(IV_BYTES, -TAG_BYTES));
  return Buffer.concat([bytes, decipher.final()]);
}
