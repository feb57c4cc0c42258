<?php // composer require firebase/php-jwt:^6.10 (or 7)
use Firebase\JWT\{JWK, JWT};

JWT::$leeway = 60;

/** $token: Errand-Authorization without its "Bearer "; $path with its query; $body as it came; $jwks: see below. Throws. */
function verify(string $token, string $method, string $path, string $body, array $jwks): object
{
    $issuer = getenv('ERRAND_ISSUER'); // https://errand.example, /p/<project> after it for any but `default`
    $worker = getenv('ERRAND_WORKER_URL'); // https://app.example: your own origin, never the Host header
    $header = new stdClass();
    $claims = JWT::decode($token, JWK::parseKeySet($jwks), $header); // the keys name their algorithms
    $bodyHash = rtrim(strtr(base64_encode(hash('sha256', $body, true)), '+/', '-_'), '=');
    $isOurs = ($claims->iss ?? '') === $issuer && ($claims->aud ?? '') === $worker && isset($claims->exp);
    $isRequest = ($claims->htm ?? '') === $method && ($claims->url ?? '') === $worker . $path;
    if (($header->typ ?? '') !== 'JWT' || !$isOurs || !$isRequest || !hash_equals($bodyHash, $claims->body_sha256 ?? '')) {
        throw new UnexpectedValueException('The token was made for another request');
    }
    return $claims;
}
// $jwks = json_decode(file_get_contents("$issuer/.well-known/jwks.json"), true); keep it for 300 s (APCu, Redis).
