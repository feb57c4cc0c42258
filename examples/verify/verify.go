package errand // go get github.com/golang-jwt/jwt/v5 github.com/MicahParks/keyfunc/v3

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"os"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

var issuer = os.Getenv("ERRAND_ISSUER")     // https://errand.example, /p/<project> after it for any but `default`
var worker = os.Getenv("ERRAND_WORKER_URL") // https://app.example: your own origin, never the Host header
var keys, keysErr = keyfunc.NewDefault([]string{issuer + "/.well-known/jwks.json"})

// Verify: token is Errand-Authorization without its "Bearer "; path with its query; body as it came.
func Verify(token, method, path string, body []byte) (jwt.MapClaims, error) {
	if keysErr != nil {
		return nil, keysErr
	}
	claims := jwt.MapClaims{}
	parsed, err := jwt.ParseWithClaims(token, claims, keys.Keyfunc, jwt.WithValidMethods([]string{"ES256", "EdDSA", "RS256"}),
		jwt.WithIssuer(issuer), jwt.WithAudience(worker), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(time.Minute))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	signed, _ := claims["body_sha256"].(string)
	isBody := subtle.ConstantTimeCompare([]byte(signed), []byte(base64.RawURLEncoding.EncodeToString(sum[:]))) == 1
	if parsed.Header["typ"] != "JWT" || claims["htm"] != method || claims["url"] != worker+path || !isBody {
		return nil, errors.New("the token was made for another request")
	}
	return claims, nil
}
