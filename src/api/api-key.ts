import { createHash, randomBytes } from 'node:crypto';

/** `errand_<id>_<secret>`: 64 random bits to find it by, 256 to prove it with. */
const FORMAT = /^errand_([0-9a-f]{16})_[0-9a-f]{64}$/;

/** Makes a key. It is shown once: only its hash is kept. */
export function newApiKey(): { id: string; key: string; secretHash: Uint8Array } {
  const id = randomBytes(8).toString('hex');
  const key = `errand_${id}_${randomBytes(32).toString('hex')}`;
  return { id, key, secretHash: hashKey(key) };
}

/** The id within a key, null when it is not the shape of an API key. */
export function apiKeyId(key: string): string | null {
  return FORMAT.exec(key)?.[1] ?? null;
}

/** A fast hash is right for 256 random bits: there is nothing to guess. */
export function hashKey(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}
