-- What one project must not learn of another, and a dump of any.

-- What the cursors of its lists are sealed with: they name places among the tasks of every project.
alter table errand.project add column cursor_key bytea not null
  default sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
