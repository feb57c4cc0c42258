import type { BusinessCalendar, Calendar, Page } from '../protocol/resources.ts';
import { createListing, type Listing } from './listing.ts';
import { calendarPath } from './paths.ts';
import { readJson } from './read-json.ts';
import type { Call, Send } from './transport.ts';

/** A calendar as it is given; the weekend is Saturday and Sunday unless said. */
export type CalendarInput = Pick<BusinessCalendar, 'timeZone'> & Partial<BusinessCalendar>;

/** Business days, which queues keep to by `businessDaysOnly`. Names are as of queues. */
export interface CalendarsClient {
  /** Creates the calendar, or replaces it; queues that name it follow within seconds. */
  put(name: string, calendar: CalendarInput): Promise<Calendar>;
  /** `not-found` when there is none. */
  get(name: string): Promise<Calendar>;
  /** One page when awaited, every calendar when iterated. */
  list(filters?: { cursor?: string; limit?: number }): Listing<Calendar>;
  /** Deletes it. `calendar-in-use` while a queue names it. */
  delete(name: string): Promise<void>;
}

export function createCalendarsClient(send: Send): CalendarsClient {
  const call = async <T>(method: Call['method'], path: string, body?: unknown): Promise<T> =>
    readJson<T>(await send({ method, path, body, isRepeatable: method === 'GET' }));
  return {
    put: async (name, calendar) => call('PUT', calendarPath(name), calendar),
    get: async (name) => call('GET', calendarPath(name)),
    list: ({ cursor, ...filters } = {}) =>
      createListing(async (at) => {
        const query = { ...filters, cursor: at };
        const path = '/v1/calendars';
        return readJson<Page<Calendar>>(
          await send({ method: 'GET', path, query, isRepeatable: true }),
        );
      }, cursor),
    async delete(name) {
      await send({ method: 'DELETE', path: calendarPath(name), isRepeatable: false });
    },
  };
}
