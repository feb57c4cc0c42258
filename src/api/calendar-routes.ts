import type { Calendar } from '../protocol/resources.ts';
import {
  type CalendarRecord,
  deleteCalendar,
  findCalendar,
  listCalendars,
  listCalendarUses,
  putCalendar,
} from '../store/calendar.ts';
import * as route from './calendar-route-definitions.ts';
import { openCursor, sealCursor } from './cursor.ts';
import type { RouteParts } from './parts.ts';
import { invalidRequest, ProblemError } from './problem.ts';
import { calendarUseErrors } from './queue-checks.ts';
import { createRouter, type Router } from './router.ts';
import { pageLimit } from './schemas/page.ts';

export function calendarRoutes({ database }: RouteParts): Router {
  const router = createRouter();

  router.openapi(route.list, async (c) => {
    const { limit: asked, cursor } = c.req.valid('query');
    const limit = pageLimit(asked);
    const { project, caller } = c.var;
    const afterName = cursor === undefined ? '' : openCursor(caller, 'calendars', cursor);
    const found = await database.run((sql) =>
      listCalendars(sql, { project, afterName, limit: limit + 1 }),
    );
    const items = found.slice(0, limit);
    const last = found.length > limit ? items.at(-1) : undefined;
    const nextCursor = last ? sealCursor(caller, 'calendars', last.name) : null;
    return c.json({ items: items.map(calendarResource), nextCursor }, 200);
  });

  router.openapi(route.get, async (c) => {
    const { calendar: name } = c.req.valid('param');
    const calendar = await database.run((sql) => findCalendar(sql, c.var.project, name));
    return c.json(calendarResource(calendar ?? notFound(name)), 200);
  });

  router.openapi(route.put, async (c) => {
    const { calendar: name } = c.req.valid('param');
    const settings = c.req.valid('json');
    // A queue that changes its windows in this instant may be missed: then it holds its tasks.
    const uses = await database.run((sql) => listCalendarUses(sql, c.var.project, name));
    const errors = calendarUseErrors(settings, uses, new Date());
    if (errors.length > 0) throw invalidRequest(errors);
    const { calendar, isCreated } = await database.run((sql) =>
      putCalendar(sql, { project: c.var.project, name, settings }),
    );
    return c.json(calendarResource(calendar), isCreated ? 201 : 200);
  });

  router.openapi(route.remove, async (c) => {
    const { calendar: name } = c.req.valid('param');
    const deletion = await database.run((sql) => deleteCalendar(sql, c.var.project, name));
    if (deletion === 'not-found') notFound(name);
    if (deletion === 'in-use') throw inUse(name);
    return c.body(null, 204);
  });

  return router;
}

function calendarResource({ updatedAt, ...calendar }: CalendarRecord): Calendar {
  return { ...calendar, updatedAt: updatedAt.toISOString() };
}

/** Another project's calendar is not there either. */
function notFound(name: string): never {
  throw new ProblemError(
    'not-found',
    `There is no calendar "${name}" in this project; PUT /v1/calendars/${name} creates it`,
  );
}

function inUse(name: string): ProblemError {
  return new ProblemError(
    'calendar-in-use',
    `Queues name calendar "${name}" in businessDaysOnly; PATCH them first`,
  );
}
