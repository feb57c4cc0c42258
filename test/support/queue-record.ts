import { DEFAULT_QUEUE_SETTINGS, type QueueRecord, type QueueSettings } from '../../src/model.ts';

/** The default queue (id 1, shard 0) as the store gives it, with other limits or fields. */
export function queueRecord(
  fields: Partial<QueueRecord> = {},
  rateLimits: Partial<QueueSettings['rateLimits']> = {},
): QueueRecord {
  return {
    id: 1,
    project: 'default',
    name: 'default',
    shard: 0,
    pool: 'default',
    version: 1,
    settings: {
      ...DEFAULT_QUEUE_SETTINGS,
      rateLimits: { ...DEFAULT_QUEUE_SETTINGS.rateLimits, ...rateLimits },
    },
    calendar: null,
    paused: false,
    poolChangedAt: null,
    webhookSecrets: [],
    isPurging: false,
    createdAt: new Date(0),
    updatedAt: new Date(0),
    ...fields,
  };
}
