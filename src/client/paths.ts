export function queuePath(name: string): string {
  return `/v1/queues/${part('queue', name)}`;
}

export function calendarPath(name: string): string {
  return `/v1/calendars/${part('calendar', name)}`;
}

export function taskPath(id: string): string {
  return `/v1/tasks/${part('id', id)}`;
}

/** An empty part or a dotted one would lead to another resource, for URLs are normalised when sent. */
function part(what: string, value: string): string {
  if (typeof value !== 'string' || ['', '.', '..'].includes(value)) {
    throw new TypeError(`${what} must be a non-empty name, got ${JSON.stringify(value)}`);
  }
  return encodeURIComponent(value);
}
