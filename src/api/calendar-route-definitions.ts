import { createRoute, z } from '@hono/zod-openapi';
import { jsonBody } from './json-body.ts';
import { calendarInputSchema, calendarParams, calendarSchema } from './schemas/calendar.ts';
import { pageQuery, pageSchema } from './schemas/page.ts';
import { BODY_PROBLEMS, problemResponses } from './schemas/problem.ts';

const tags = ['Calendars'];
const path = '/v1/calendars/{calendar}';
const noQuery = z.strictObject({});

export const list = createRoute({
  method: 'get',
  path: '/v1/calendars',
  operationId: 'listCalendars',
  tags,
  summary: 'List the calendars by name',
  request: { query: z.strictObject(pageQuery) },
  responses: { 200: ok('A page of calendars.', pageSchema(calendarSchema)), ...problemResponses() },
});

export const get = createRoute({
  method: 'get',
  path,
  operationId: 'getCalendar',
  tags,
  summary: 'Get a calendar',
  request: { params: calendarParams, query: noQuery },
  responses: { 200: ok('The calendar.', calendarSchema), ...problemResponses('not-found') },
});

export const put = createRoute({
  method: 'put',
  path,
  operationId: 'putCalendar',
  tags,
  summary: 'Create a calendar, or replace it',
  description:
    'The queues that name it in `businessDaysOnly` follow within seconds. A calendar on whose business days one of them would never open is refused. Safe to repeat.',
  middleware: jsonBody(),
  request: {
    params: calendarParams,
    query: noQuery,
    body: { required: true, content: { 'application/json': { schema: calendarInputSchema } } },
  },
  responses: {
    200: ok('It was replaced.', calendarSchema),
    201: ok('It was created.', calendarSchema),
    ...problemResponses(...BODY_PROBLEMS, 'outcome-unknown'),
  },
});

export const remove = createRoute({
  method: 'delete',
  path,
  operationId: 'deleteCalendar',
  tags,
  summary: 'Delete a calendar that no queue names',
  request: { params: calendarParams, query: noQuery },
  responses: {
    204: { description: 'It is gone.' },
    ...problemResponses('not-found', 'calendar-in-use', 'outcome-unknown'),
  },
});

function ok<Schema extends z.ZodType>(description: string, schema: Schema) {
  return { description, content: { 'application/json': { schema } } };
}
