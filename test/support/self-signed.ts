/**
 * A certificate for localhost and 127.0.0.1 that no authority signed, good for a hundred years. Its key
 * protects nothing: it is made for tests and known to everyone.
 */
export const SELF_SIGNED = {
  cert: `-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUWcTz/h+mvXbvciSbsqlRE47+td4wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTA4Mzk0MVoYDzIxMjYxMDI4
MDgzOTQxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATbrsLM19A4h15GvdB7QCLzcUh+s4byWzQ/izBvQDpezqpduM5bTjeG
8DGjZ+jJgETkq76DXf7IhERM8Q5/W1SGo28wbTAdBgNVHQ4EFgQUi6QOg/TMlm60
KKe/eIJXLirfgDAwHwYDVR0jBBgwFoAUi6QOg/TMlm60KKe/eIJXLirfgDAwDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgS6XRzC4dQ4sG9TgjJz5QIXjM6ppwZY6eqDRTE12pvOsCIDln
lT+FeTWQCu8duKgzlZltHdQeoIOUSPAahlF8ZimH
-----END CERTIFICATE-----`,
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgEG/X3i5wz2jwBfFF
KwEm31IudHzHawYbYEA9D8/HHCuhRANCAATbrsLM19A4h15GvdB7QCLzcUh+s4by
WzQ/izBvQDpezqpduM5bTjeG8DGjZ+jJgETkq76DXf7IhERM8Q5/W1SG
-----END PRIVATE KEY-----`,
};
