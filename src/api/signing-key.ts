import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';
import type { TokenAlgorithm } from '../protocol/token.ts';
import { type Jwk, type SigningKey, signingKeyContext } from '../store/signing-key.ts';
import { createVault, type Vault } from '../store/vault.ts';

const NO_VAULT = createVault([]);

/** Makes a key pair for tokens. `kid` is its RFC 7638 thumbprint; the private key comes sealed. */
export async function makeSigningKey(
  algorithm: TokenAlgorithm = 'ES256',
  vault: Vault = NO_VAULT,
): Promise<SigningKey> {
  const pair = await generateKeyPair(algorithm, { extractable: true });
  const publicJwk = await exportJWK(pair.publicKey);
  const privateJwk = await exportJWK(pair.privateKey);
  const kid = await calculateJwkThumbprint(publicJwk);
  const sealed: Jwk = vault.seal<Jwk>({ ...privateJwk }, signingKeyContext(kid));
  return { kid, algorithm, publicJwk: { ...publicJwk }, privateJwk: sealed };
}
