-- What one project must not learn of another, and a dump of any.

-- What the cursors of its lists are sealed with: they name places among the tasks of every project.
alter table errand.project add column cursor_key bytea not null
  default sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

-- What payloads and headers of a project are encrypted with. Old ones stay for the tasks that have them.
create table errand.data_key (
  id         integer primary key generated always as identity,
  project    text not null references errand.project (name),
  -- Wrapped by the master key; null once that was lost and given up.
  wrapped    jsonb,
  created_at timestamptz not null default now(),
  unique (project, id)
);

-- The one that new tasks are encrypted with; null = they are not.
alter table errand.project add column data_key integer;
alter table errand.project add constraint project_data_key
  foreign key (name, data_key) references errand.data_key (project, id);

-- Null: headers and body are as they lie there. Else both are encrypted with this key: the body's bytes,
-- and the headers as one JSON string. In each step of a task the key is that of the first.
alter table errand.task add column data_key integer;
