import { createRoute, z } from '@hono/zod-openapi';
import type { Project } from '../protocol/access.ts';
import { makeDataKey, setEncryption } from '../store/data-key.ts';
import {
  findProject,
  listProjects,
  patchProject,
  type Project as ProjectRecord,
  putProject,
} from '../store/project.ts';
import type { Envelope } from '../store/vault.ts';
import { jsonBody } from './json-body.ts';
import type { RouteParts } from './parts.ts';
import { invalidRequest, ProblemError } from './problem.ts';
import { createRouter, type Router } from './router.ts';
import { projectInputSchema, projectParams, projectSchema } from './schemas/access.ts';
import { BODY_PROBLEMS, problemResponses } from './schemas/problem.ts';

const tags = ['Operations'];
const path = '/v1/projects/{project}';
const noQuery = z.strictObject({});
const body = {
  required: true,
  content: { 'application/json': { schema: projectInputSchema } },
};

const list = createRoute({
  method: 'get',
  path: '/v1/projects',
  operationId: 'listProjects',
  tags,
  summary: 'List the projects by name',
  request: { query: noQuery },
  responses: {
    200: ok('The projects.', z.object({ items: z.array(projectSchema), nextCursor: z.null() })),
    ...problemResponses(),
  },
});

const get = createRoute({
  method: 'get',
  path,
  operationId: 'getProject',
  tags,
  summary: 'Get a project',
  request: { params: projectParams, query: noQuery },
  responses: { 200: ok('The project.', projectSchema), ...problemResponses('not-found') },
});

const put = createRoute({
  method: 'put',
  path,
  operationId: 'putProject',
  tags,
  summary: 'Create a project, or replace its quotas',
  description:
    'Quotas are in force within a second. `encryptPayloads` stays as it is where it is left out. Safe to repeat.',
  middleware: jsonBody(),
  request: { params: projectParams, query: noQuery, body },
  responses: {
    200: ok('Its quotas were replaced.', projectSchema),
    201: ok('It was created.', projectSchema),
    ...problemResponses(...BODY_PROBLEMS, 'outcome-unknown'),
  },
});

const patch = createRoute({
  method: 'patch',
  path,
  operationId: 'patchProject',
  tags,
  summary: 'Change some quotas of a project',
  description: 'What is left out stays. Safe to repeat.',
  middleware: jsonBody(),
  request: { params: projectParams, query: noQuery, body },
  responses: {
    200: ok('The project as it is now.', projectSchema),
    ...problemResponses('not-found', ...BODY_PROBLEMS, 'outcome-unknown'),
  },
});

interface Encryption {
  /** The data key to encrypt with; null = none. */
  wrapped: Envelope | null;
}

/** For whoever runs the service: the admin key alone opens them. */
export function projectRoutes({ database, vault }: RouteParts): Router {
  const router = createRouter();

  /** After the quotas; null where nothing is said of it, or there is no such project. */
  async function encrypt(
    name: string,
    encryption: Encryption | null,
  ): Promise<ProjectRecord | null> {
    if (encryption === null) return null;
    return database.run((sql) => setEncryption(sql, name, encryption.wrapped));
  }

  /** Null where nothing is said of it. Throws `invalid-request` when it can't be done. */
  function encryptionOf(name: string, isWanted: boolean | undefined): Encryption | null {
    if (isWanted === undefined) return null;
    const wrapped = isWanted ? makeDataKey(vault, name) : null;
    if (isWanted && wrapped === null) throw noMasterKey();
    return { wrapped };
  }

  router.openapi(list, async (c) => {
    const projects = await database.run(listProjects);
    return c.json({ items: projects.map(projectResource), nextCursor: null }, 200);
  });

  router.openapi(get, async (c) => {
    const { project: name } = c.req.valid('param');
    const project = await database.run((sql) => findProject(sql, name));
    return c.json(projectResource(project ?? notFound(name)), 200);
  });

  router.openapi(put, async (c) => {
    const { project: name } = c.req.valid('param');
    const { quotas = {}, encryptPayloads } = c.req.valid('json');
    const encryption = encryptionOf(name, encryptPayloads);
    const { project, isCreated } = await database.run((sql) => putProject(sql, name, quotas));
    const encrypted = await encrypt(name, encryption);
    return c.json(projectResource(encrypted ?? project), isCreated ? 201 : 200);
  });

  router.openapi(patch, async (c) => {
    const { project: name } = c.req.valid('param');
    const { quotas = {}, encryptPayloads } = c.req.valid('json');
    const encryption = encryptionOf(name, encryptPayloads);
    const project = await database.run((sql) => patchProject(sql, name, quotas));
    const encrypted = await encrypt(name, encryption);
    return c.json(projectResource(encrypted ?? project ?? notFound(name)), 200);
  });

  return router;
}

function projectResource({ name, quotas, dataKey, createdAt }: ProjectRecord): Project {
  const encryptPayloads = dataKey !== null;
  return { name, quotas, encryptPayloads, createdAt: createdAt.toISOString() };
}

function noMasterKey(): ProblemError {
  const expected =
    'false, as this process has no ERRAND_MASTER_KEY: give one to every process first';
  return invalidRequest([{ pointer: '/encryptPayloads', expected, received: 'true' }]);
}

function notFound(name: string): never {
  throw new ProblemError(
    'not-found',
    `There is no project "${name}"; PUT /v1/projects/${name} creates it`,
  );
}

function ok<Schema extends z.ZodType>(description: string, schema: Schema) {
  return { description, content: { 'application/json': { schema } } };
}
