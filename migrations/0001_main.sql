-- Where a task's row lies is its state: scheduled, ready, lease or finished. Rows on the hot path are
-- inserted and deleted, never updated, and every hot key leads with the shard.

create type errand.outcome as enum ('responded', 'timed_out', 'unreachable', 'blocked', 'lost');
create type errand.settlement as enum ('succeed', 'retry', 'continue', 'fail', 'cancel');
create type errand.final_state as enum ('succeeded', 'failed', 'cancelled');

create table errand.project (
  name       text primary key check (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  created_at timestamptz not null default now()
);

create table errand.api_key (
  id          text primary key,
  project     text not null references errand.project (name),
  label       text not null,
  secret_hash bytea not null check (length(secret_hash) = 32),
  created_at  timestamptz not null default now(),
  revoked_at  timestamptz
);

create table errand.signing_key (
  kid         text primary key,
  project     text not null references errand.project (name),
  algorithm   text not null,
  public_jwk  jsonb not null,
  private_jwk jsonb not null,
  created_at  timestamptz not null default now(),
  retired_at  timestamptz
);
create unique index signing_key_active on errand.signing_key (project) where retired_at is null;

create table errand.queue (
  id            integer primary key generated always as identity,
  project       text not null references errand.project (name),
  name          text not null check (name ~ '^[A-Za-z0-9_-]{1,100}$'),
  shard         smallint not null check (shard between 0 and 63),
  pool          text not null default 'default',
  -- Raised by every change: a claim made with an older version yields nothing.
  version       bigint not null default 1,
  -- What was given; defaults are filled in when it is read.
  settings      jsonb not null default '{}',
  paused_at     timestamptz,
  -- Tasks whose id is lower are gone; while `is_purging`, their rows are still being deleted.
  purged_before uuid,
  is_purging    boolean not null default false,
  deleted_at    timestamptz,
  created_at    timestamptz not null default now(),
  updated_at    timestamptz not null default now()
);
create unique index queue_name on errand.queue (project, name) where deleted_at is null;

create table errand.dispatcher (
  id         integer primary key generated always as identity,
  pool       text not null,
  host       text not null,
  pid        integer not null,
  heartbeat  bigint not null default 0,
  started_at timestamptz not null default now(),
  seen_at    timestamptz not null default now()
);

-- Only the owner of a (pool, shard) claims from it; every change of hands raises the epoch.
create table errand.ownership (
  pool       text not null,
  shard      smallint not null check (shard between 0 and 63),
  dispatcher integer,
  epoch      bigint not null default 0,
  primary key (pool, shard)
);

create sequence errand.task_seq as bigint;

-- A task id is a UUIDv7: 48 bits of milliseconds, 10 bits of microseconds (in rand_a), 12 bits of
-- shard and 50 random bits. Time comes from the database's clock, so ids of one database are ordered
-- by creation, and day partitions are ranges of ids.
create function errand.task_id(at timestamptz, shard integer, random uuid) returns uuid
language sql immutable parallel safe as $$
  select (
    lpad(to_hex((extract(epoch from at) * 1000000)::bigint / 1000), 12, '0')
    || to_hex(28672 + ((extract(epoch from at) * 1000000)::bigint % 1000)::integer * 4)
    || to_hex(32768 + shard * 4 + (get_byte(uuid_send(random), 0) & 3))
    || substr(random::text, 25, 12)
  )::uuid
$$;

-- The lowest id that a task created at this time could have.
create function errand.lowest_task_id(at timestamptz) returns uuid
language sql immutable parallel safe as $$
  select (
    lpad(to_hex((extract(epoch from at) * 1000000)::bigint / 1000), 12, '0')
    || to_hex(28672 + ((extract(epoch from at) * 1000000)::bigint % 1000)::integer * 4)
    || '8000000000000000'
  )::uuid
$$;

-- What a task is: cold, written once, and once more for each step of a continuation.
create table errand.task (
  shard                smallint not null,
  id                   uuid not null,
  step                 integer not null,
  queue                integer not null,
  rank                 smallint not null check (rank between -1000 and 1000),
  url                  text not null,
  method               text not null,
  headers              jsonb,
  content_type         text,
  body                 bytea not null,
  name                 text,
  flow_key             text,
  retry                jsonb,
  dispatch_deadline_ms integer check (dispatch_deadline_ms between 1000 and 86400000),
  retention_seconds    double precision check (retention_seconds >= 0),
  expire_at            timestamptz,
  scheduled_at         timestamptz not null,
  owner                text,
  labels               jsonb,
  progress             real check (progress between 0 and 100),
  created_at           timestamptz not null,
  primary key (shard, id, step)
) partition by range (id);
create index task_by_queue on errand.task (queue, id) where step = 0;
create index task_by_owner on errand.task (owner, id) where step = 0 and owner is not null;

create table errand.scheduled (
  shard            smallint not null,
  due_at           timestamptz not null,
  task             uuid not null,
  step             integer not null,
  queue            integer not null,
  rank             smallint not null,
  -- Attempts made in this step so far.
  attempt          integer not null,
  first_attempt_at timestamptz,
  previous_status  smallint,
  primary key (shard, due_at, task)
);
create unique index scheduled_task on errand.scheduled (shard, task);

create table errand.ready (
  shard            smallint not null,
  queue            integer not null,
  -- −priority, so that the key's order is the order of dispatch.
  rank             smallint not null,
  seq              bigint not null,
  task             uuid not null,
  step             integer not null,
  attempt          integer not null,
  due_at           timestamptz not null,
  first_attempt_at timestamptz,
  previous_status  smallint,
  primary key (shard, queue, rank, seq)
);
create unique index ready_task on errand.ready (shard, task);

create table errand.lease (
  shard               smallint not null,
  task                uuid not null,
  lease_id            uuid not null,
  dispatcher          integer not null,
  -- Number of the claim within its dispatcher: what came of a claim whose answer was lost.
  claim               bigint not null,
  queue               integer not null,
  rank                smallint not null,
  seq                 bigint not null,
  step                integer not null,
  -- This attempt's number within the step, from 1.
  attempt             integer not null check (attempt >= 1),
  due_at              timestamptz not null,
  first_attempt_at    timestamptz,
  previous_status     smallint,
  started_at          timestamptz not null,
  expires_at          timestamptz not null,
  cancel_requested_at timestamptz,
  primary key (shard, task)
);
create index lease_expiry on errand.lease (shard, expires_at);

create table errand.finished (
  shard               smallint not null,
  task                uuid not null,
  queue               integer not null,
  state               errand.final_state not null,
  step                integer not null,
  attempt             integer not null,
  started_at          timestamptz,
  finished_at         timestamptz not null,
  last_status         smallint,
  reason              text,
  output              bytea,
  output_type         text,
  output_name         text,
  is_output_truncated boolean,
  progress            real,
  retained_until      timestamptz not null,
  primary key (shard, task)
) partition by range (task);
create index finished_unsuccessful on errand.finished (queue, task) where state <> 'succeeded';

create table errand.attempt (
  shard       smallint not null,
  task        uuid not null,
  lease_id    uuid not null,
  step        integer not null,
  attempt     integer not null,
  dispatcher  integer not null,
  outcome     errand.outcome not null,
  settlement  errand.settlement not null,
  status      smallint,
  error       text,
  started_at  timestamptz not null,
  finished_at timestamptz not null,
  duration_ms integer not null,
  retry_at    timestamptz,
  primary key (shard, task, lease_id)
) partition by range (task);

-- A name is taken until `free_from`; null = its task still lives.
create table errand.task_name (
  shard     smallint not null,
  queue     integer not null,
  name      text not null,
  task      uuid not null,
  free_from timestamptz,
  primary key (shard, queue, name)
);
create index task_name_free on errand.task_name (free_from) where free_from is not null;

create table errand.idempotency (
  shard        smallint not null,
  queue        integer not null,
  key          text not null,
  request_hash bytea not null,
  task         uuid not null,
  expires_at   timestamptz not null,
  primary key (shard, queue, key)
);
create index idempotency_expiry on errand.idempotency (expires_at);

-- Rolls back a statement that found out half-way that it must not happen.
create function errand.refuse(reason text) returns boolean language plpgsql as $$
begin
  raise exception using errcode = 'ER001', message = reason;
end
$$;

-- Insert-and-delete tables are kept small by vacuuming them early and at full speed.
alter table errand.ready set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
alter table errand.lease set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
alter table errand.scheduled set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

insert into errand.project (name) values ('default');
insert into errand.queue (project, name, shard) values ('default', 'default', 0);
insert into errand.ownership (pool, shard) select 'default', s from generate_series(0, 63) s;
