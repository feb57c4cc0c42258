import { readFile } from 'node:fs/promises';
import { type OpenApiDocument, openApiYaml } from './describe-api.ts';
import { ProblemError } from './problem.ts';
import { createRouter, type Router } from './router.ts';

const SCRIPT = 'openapi-explorer.min.js';

/** The build copies the script beside this file; the source tree has it from its dependency. */
const SCRIPT_PLACES = [
  new URL(`./${SCRIPT}`, import.meta.url),
  new URL(`../../node_modules/openapi-explorer/dist/browser/${SCRIPT}`, import.meta.url),
];

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Errand API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/docs.css">
<script type="module" src="/docs/${SCRIPT}"></script>
</head>
<body>
<openapi-explorer spec-url="/openapi.json" hide-server-selection="true" nav-bg-color="#26323c" primary-color="#2f6f8f" hide-authentication="false">
</openapi-explorer>
<noscript>This page needs JavaScript; the same is in <a href="/openapi.yaml">openapi.yaml</a>.</noscript>
</body>
</html>
`;

const STYLE =
  'body { margin: 0; font-family: system-ui, sans-serif }\nopenapi-explorer { display: block; min-height: 100vh }\n';

/** The page talks to this server and to nobody else. Its component sets style attributes itself. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** The API's description, and a page to read it and try it out. None of it needs a key. */
export function docsRoutes(describe: () => OpenApiDocument): Router {
  const router = createRouter();
  const document = once(describe);
  const script = once(readScript);

  router.get('/openapi.json', (c) => c.json(document()));
  router.get('/openapi.yaml', (c) => {
    c.header('content-type', 'application/yaml; charset=utf-8');
    return c.body(openApiYaml(document()));
  });
  router.get('/', (c) => c.redirect('/docs'));
  router.get('/docs', (c) => {
    c.header('content-security-policy', CONTENT_SECURITY_POLICY);
    c.header('referrer-policy', 'no-referrer');
    return c.html(PAGE);
  });
  router.get('/docs/docs.css', (c) => {
    c.header('content-type', 'text/css; charset=utf-8');
    return c.body(STYLE);
  });
  router.get(`/docs/${SCRIPT}`, async (c) => {
    c.header('content-type', 'text/javascript; charset=utf-8');
    c.header('cache-control', 'public, max-age=3600');
    return c.body(await script());
  });
  return router;
}

async function readScript(): Promise<Uint8Array<ArrayBuffer>> {
  for (const place of SCRIPT_PLACES) {
    const bytes = await readFile(place).catch(() => null);
    if (bytes !== null) return bytes;
  }
  throw new ProblemError('not-found', 'This copy of errand was built without the script of /docs');
}

function once<Value>(make: () => Value): () => Value {
  let made: { value: Value } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
