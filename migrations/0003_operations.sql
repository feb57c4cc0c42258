-- What others have to know of a dispatcher: how long its silence may last, and whether it came for one
-- queue alone.

-- Seconds of silence, at most, until it is struck. Who observes it takes the longer time, its own or this.
alter table errand.dispatcher add column takeover_seconds double precision not null default 10
  check (takeover_seconds > 0);
-- The queue that it drains; null for a dispatcher, which serves its whole pool.
alter table errand.dispatcher add column only_queue integer;


-- Keys and projects: what a key may do and for how long, what a project may enqueue, signing keys that
-- follow one another, and the secrets of webhooks.

-- The keys that were there before could do everything but make other keys.
alter table errand.api_key
  add column scopes text[] not null default '{enqueue,read,manage}'
    check (cardinality(scopes) > 0 and scopes <@ '{enqueue,read,manage,admin}'),
  -- Names of queues, or how they begin, with a `*` at the end; null = every queue.
  add column queues text[] check (cardinality(queues) > 0),
  add column expires_at timestamptz,
  add column last_used_at timestamptz;

-- `maxBacklog`, `maxEnqueuesPerSecond`, `maxEnqueueBurst`; what is left out is no limit.
alter table errand.project add column quotas jsonb not null default '{}';

-- The token bucket that the API processes share for `maxEnqueuesPerSecond`.
create table errand.project_allowance (
  project     text primary key references errand.project (name),
  tokens      double precision not null,
  -- What the last draw got.
  granted     integer not null,
  refilled_at timestamptz not null
) with (fillfactor = 50);

-- A project signs with the key that began last: it is in the JWKS before that, and for a day after its
-- successor began. The first key of a project has begun ever since, so that there is one.
alter table errand.signing_key
  add column signs_from timestamptz not null default '-infinity',
  add column revoked_at timestamptz;
-- `retired_at` is no longer looked at: what began later takes over.
update errand.signing_key set signs_from = created_at;
drop index errand.signing_key_active;
create unique index signing_key_begin on errand.signing_key (project, signs_from);

-- [{id, createdAt, secret}], two at most: what Standard Webhooks signatures are made with.
alter table errand.queue add column webhook_secrets jsonb not null default '[]';

-- Nothing looks leases up by their end: the owner reads those of its shards, which are few.
drop index errand.lease_expiry;
-- Cut off when empty, they looked so small to the planner that it read them whole, even once they were
-- large: 5,000 tasks after a quiet minute cost five times as much.
alter table errand.ready set (vacuum_truncate = false);
alter table errand.lease set (vacuum_truncate = false);
alter table errand.scheduled set (vacuum_truncate = false);
alter table errand.parked set (vacuum_truncate = false);
