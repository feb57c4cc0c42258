import type { Page, Queue, QueueSettings, QueueStats, QueueStatus } from '../protocol/resources.ts';
import { createListing, type Listing } from './listing.ts';
import { queuePath } from './paths.ts';
import { readJson } from './read-json.ts';
import type { Call, Send } from './transport.ts';

/** Any part of a queue's settings, at any depth. */
export type QueuePatch = {
  [Field in keyof QueueSettings]?: QueueSettings[Field] extends unknown[]
    ? QueueSettings[Field]
    : QueueSettings[Field] extends object | null
      ? Partial<QueueSettings[Field]> | Extract<QueueSettings[Field], null>
      : QueueSettings[Field];
};

/** Everything about queues. Names are `[A-Za-z0-9_-]`, 1 to 100 characters. */
export interface QueuesClient {
  /** Creates the queue, or replaces all its settings: what is left out gets its default. */
  put(name: string, settings?: QueuePatch): Promise<Queue>;
  /** The queue with its (approximate) counts and status. `not-found` when there is none. */
  get(name: string): Promise<Queue & { stats: QueueStats; status: QueueStatus }>;
  /** Changes only what is given. `not-found` when there is no such queue. */
  patch(name: string, settings: QueuePatch): Promise<Queue>;
  /** One page when awaited, every queue when iterated. */
  list(filters?: { cursor?: string; limit?: number }): Listing<Queue>;
  /** Deletes it. `queue-not-empty` while tasks wait, unless `force` throws them away. */
  delete(name: string, options?: { force?: boolean }): Promise<void>;
  /** Stops dispatching; attempts in flight end normally. Safe to repeat. */
  pause(name: string): Promise<Queue>;
  /** Goes on dispatching. Safe to repeat. */
  resume(name: string): Promise<Queue>;
  /** Throws away every task that waits now; what is in flight ends with its attempt. */
  purge(name: string): Promise<Queue>;
}

export function createQueuesClient(send: Send): QueuesClient {
  const call = async <T>(method: Call['method'], path: string, body?: unknown): Promise<T> =>
    readJson<T>(await send({ method, path, body, isRepeatable: method === 'GET' }));
  return {
    put: async (name, settings = {}) => call('PUT', queuePath(name), settings),
    get: async (name) => call('GET', queuePath(name)),
    patch: async (name, settings) => call('PATCH', queuePath(name), settings),
    list: ({ cursor, ...filters } = {}) =>
      createListing(async (at) => {
        const query = { ...filters, cursor: at };
        const answer = await send({ method: 'GET', path: '/v1/queues', query, isRepeatable: true });
        return readJson<Page<Queue>>(answer);
      }, cursor),
    async delete(name, { force } = {}) {
      const query = { force: force ? 'true' : undefined };
      await send({ method: 'DELETE', path: queuePath(name), query, isRepeatable: false });
    },
    pause: async (name) => call('POST', `${queuePath(name)}/pause`),
    resume: async (name) => call('POST', `${queuePath(name)}/resume`),
    purge: async (name) => call('POST', `${queuePath(name)}/purge`),
  };
}
