import base64, hashlib, hmac, os
import jwt  # PyJWT 2.6 or newer, with cryptography

ISSUER = os.environ["ERRAND_ISSUER"]  # https://errand.example, /p/<project> after it for any but `default`
WORKER = os.environ["ERRAND_WORKER_URL"]  # https://app.example: your own origin, never the Host header
KEYS = jwt.PyJWKClient(f"{ISSUER}/.well-known/jwks.json", lifespan=300)


def verify(token: str, method: str, path: str, body: bytes) -> dict:
    """`token`: Errand-Authorization without its "Bearer "; `path` with its query; `body` as it came. Raises."""
    required = ["exp", "iat", "jti", "sub", "htm", "url", "body_sha256"]
    key = KEYS.get_signing_key_from_jwt(token).key
    token_with_header = jwt.api_jwt.decode_complete(token, key, algorithms=["ES256", "EdDSA", "RS256"], issuer=ISSUER,
                                                    audience=WORKER, leeway=60, options={"require": required})
    header, claims = token_with_header["header"], token_with_header["payload"]
    body_hash = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
    is_request = (claims["htm"], claims["url"]) == (method, WORKER + path)
    if header.get("typ") != "JWT" or not is_request or not hmac.compare_digest(claims["body_sha256"], body_hash):
        raise jwt.InvalidTokenError("The token was made for another request")
    return claims
