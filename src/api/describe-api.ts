import { stringify } from 'yaml';
import { accessOf, describeAccess } from './access.ts';
import type { Router } from './router.ts';

export type OpenApiDocument = ReturnType<Router['getOpenAPI31Document']>;

/** The OpenAPI 3.1 document of an app's routes. */
export function describeApi(api: Router): OpenApiDocument {
  const document = api.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: 'Errand',
      version: '1',
      description: DESCRIPTION,
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    servers: [{ url: '/', description: 'This server.' }],
    security: [{ apiKey: [] }],
    tags: [
      { name: 'Tasks', description: 'Units of work: a payload, and the URL it is sent to.' },
      { name: 'Queues', description: 'Limits, retry policy and order of tasks.' },
      { name: 'Calendars', description: 'Business days, which queues can keep to.' },
      { name: 'Tokens', description: 'What a worker verifies the signed attempts by.' },
      { name: 'Keys', description: 'API keys of a project, and the secrets of its webhooks.' },
      { name: 'Operations', description: 'For whoever runs the service.' },
    ],
  });
  return {
    ...document,
    paths: withAccess(document.paths),
    components: {
      ...document.components,
      securitySchemes: {
        apiKey: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'errand_<id>_<secret>',
          description:
            'An API key, which acts in its own project, as far as its scopes and queues go; or the admin key, which acts in the project that the `Errand-Project` header names (`default` without it).',
        },
      },
    },
  };
}

/** What each operation needs, from the one table that is also enforced. */
function withAccess(paths: OpenApiDocument['paths']): OpenApiDocument['paths'] {
  const described = Object.entries(paths ?? {}).map(([path, item]) => {
    const operations = Object.entries(item).map(([method, operation]) => {
      const access = accessOf(method, path);
      if (access === undefined) return [method, operation];
      const { description } = operation as { description?: string };
      const text = [description, describeAccess(access)].filter(Boolean).join(' ');
      return [method, { ...operation, description: text }];
    });
    return [path, Object.fromEntries(operations)];
  });
  return Object.fromEntries(described);
}

const DESCRIPTION = `A push task queue on your own Postgres: enqueue a task, and its payload is sent to its URL with a signed token, and retried until it is done.

Times are RFC 3339 in UTC, durations are numbers with the unit in their name. Lists come as \`{items, nextCursor}\`. Errors are \`application/problem+json\` (RFC 9457) with a stable \`code\`. A request with a field or query parameter that is not documented is refused.

With 503 \`database-unavailable\` nothing happened, and with \`outcome-unknown\` the request may have taken effect: both may be repeated, tasks with an \`Idempotency-Key\`.`;

export function openApiYaml(document: OpenApiDocument): string {
  return stringify(document, { aliasDuplicateObjects: false, lineWidth: 0 });
}
