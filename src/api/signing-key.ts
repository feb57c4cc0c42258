import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';
import type { TokenAlgorithm } from '../protocol/token.ts';
import type { SigningKey } from '../store/signing-key.ts';

/** Makes a key pair for tokens. `kid` is its RFC 7638 thumbprint. */
export async function makeSigningKey(algorithm: TokenAlgorithm = 'ES256'): Promise<SigningKey> {
  const pair = await generateKeyPair(algorithm, { extractable: true });
  const publicJwk = await exportJWK(pair.publicKey);
  const privateJwk = await exportJWK(pair.privateKey);
  const kid = await calculateJwkThumbprint(publicJwk);
  return { kid, algorithm, publicJwk: { ...publicJwk }, privateJwk: { ...privateJwk } };
}
