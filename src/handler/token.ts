import { errors, jwtVerify } from 'jose';
import { HEADER } from '../protocol/headers.ts';
import type { TokenClaims } from '../protocol/token.ts';
import { TOKEN_ALGORITHMS, TOKEN_TTL_SECONDS } from '../protocol/token.ts';
import type { VerificationCode } from './errors.ts';
import { VerificationError } from './errors.ts';
import type { Settings } from './settings.ts';

const STRING_CLAIMS = ['iss', 'aud', 'sub', 'jti', 'htm', 'url', 'body_sha256'] as const;
const CLOCK_TOLERANCE_SECONDS = 60;

/**
 * Checks the token of a request, but not yet what it says about the request. The algorithms are
 * pinned (RFC 8725, section 3.1) and the audience is never left out, since jose would then take any.
 */
export async function checkToken(headers: Headers, settings: Settings): Promise<TokenClaims> {
  const token = readToken(headers);
  try {
    const { payload } = await jwtVerify(token, settings.keys, {
      algorithms: [...TOKEN_ALGORITHMS],
      typ: 'JWT',
      issuer: settings.issuer,
      audience: settings.audience,
      requiredClaims: [...STRING_CLAIMS, 'exp', 'iat'],
      maxTokenAge: TOKEN_TTL_SECONDS,
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
    });
    for (const claim of STRING_CLAIMS) {
      if (typeof payload[claim] !== 'string') throw notString(claim);
    }
    return payload as unknown as TokenClaims;
  } catch (error) {
    throw explain(error, settings);
  }
}

/** Some proxies keep `Authorization` to themselves, so the service sends the token under both names. */
function readToken(headers: Headers): string {
  const value = headers.get(HEADER.authorization) ?? headers.get('authorization');
  if (value === null) {
    throw new VerificationError(
      'token-missing',
      'The request carries no token in Errand-Authorization or Authorization',
    );
  }
  const match = /^Bearer +(\S+)$/i.exec(value);
  if (match === null) {
    throw new VerificationError('token-malformed', 'The token must be given as "Bearer <jwt>"');
  }
  return match[1]!;
}

function notString(claim: string): VerificationError {
  return new VerificationError('claim-invalid', `The token's ${claim} must be a string`);
}

/** jose's codes are its own; ours are the promise, and hold when the library is changed. */
function explain(error: unknown, settings: Settings): VerificationError {
  if (error instanceof VerificationError) return error;
  if (error instanceof errors.JWTClaimValidationFailed) {
    return new VerificationError('claim-invalid', claimMessage(error, settings), { cause: error });
  }
  const code = error instanceof errors.JOSEError ? CODES[error.code] : undefined;
  const refused = code ?? 'keys-unavailable';
  return new VerificationError(refused, MESSAGES[refused] ?? '', { cause: error });
}

const CODES: Record<string, VerificationCode> = {
  ERR_JWT_EXPIRED: 'token-expired',
  ERR_JOSE_ALG_NOT_ALLOWED: 'algorithm-refused',
  ERR_JOSE_NOT_SUPPORTED: 'algorithm-refused',
  ERR_JWKS_NO_MATCHING_KEY: 'key-unknown',
  ERR_JWKS_MULTIPLE_MATCHING_KEYS: 'key-unknown',
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: 'signature-invalid',
  ERR_JWS_INVALID: 'token-malformed',
  ERR_JWT_INVALID: 'token-malformed',
};

const MESSAGES: Partial<Record<VerificationCode, string>> = {
  'token-expired': `The token has expired; it is good for ${TOKEN_TTL_SECONDS} s`,
  'algorithm-refused': `The token must be signed with one of ${TOKEN_ALGORITHMS.join(', ')}`,
  'key-unknown': 'The token names a key that the issuer does not publish',
  'signature-invalid': 'The signature of the token is not valid',
  'token-malformed': 'The token is not a JWT',
  'keys-unavailable': "The issuer's keys could not be fetched",
};

function claimMessage(error: errors.JWTClaimValidationFailed, settings: Settings): string {
  const got = JSON.stringify(error.payload[error.claim]);
  if (error.reason === 'missing') return `The token has no ${error.claim}`;
  switch (error.claim) {
    case 'iss':
      return `The token's iss must be ${settings.issuer}, got ${got}; is issuer (ERRAND_ISSUER) right?`;
    case 'aud':
      return `The token's aud must be ${settings.audience}, got ${got}; set audience if the queue has one`;
    case 'iat':
    case 'nbf':
      return `The token's ${error.claim} is ${got}, which is not now; are both clocks right?`;
    default:
      return `The token's ${error.claim} is not the expected one`;
  }
}
