-- Everything the platform keeps in Postgres but the tables that grow with definitions (registry/tables.ts makes those:
-- archive_<source>, rows_<version id>). Runs with search_path set to the environment's schema.
-- Times named *_ms are whole milliseconds since 1970, UTC. Rows that people read carry timestamptz.

-- One number per transaction that archives events; archive rows, snapshots and records carry it.
create sequence event_sequence as bigint;

-- The same value stands in Redis: two stores that disagree do not belong together.
create table generation (
  single boolean primary key default true check (single),
  generation uuid not null default gen_random_uuid()
);
insert into generation default values;

-- Every definition document that was ever applied, whole. The greatest revision is the present one.
create table revision (
  revision bigint primary key check (revision > 0),
  definitions jsonb not null,
  definitions_hash text not null,
  plan_hash text not null unique,
  applied_by text not null,
  applied_at timestamptz not null default now()
);

-- Plans on their way to being applied: workflows carry the hash, never the document.
create table plan (
  hash text primary key,
  base_revision bigint not null,     -- 0: an empty registry
  definitions jsonb not null,
  plan jsonb not null,
  created_at timestamptz not null default now(),
  state text not null default 'saved' check (state in ('saved', 'open', 'applied', 'abandoned')),
  opened jsonb not null default '[]' -- the versions it opened, each with the state it had before; null: it did not exist
);
-- One plan is applied at a time; whoever comes second is told, not mixed in.
create unique index plan_one_open on plan (state) where state = 'open';

-- A view version, immutable but for its state. `id` names its Redis field and its rows table.
create table view_version (
  id integer generated always as identity primary key check (id < 1000000),
  view text not null,
  version integer not null check (version > 0),
  hash text not null,
  kind text not null check (kind in ('aggregation', 'sql', 'onDemand')),
  definition jsonb not null, -- the view
  source jsonb,              -- its source, for aggregation views
  entity jsonb,              -- its entity, but for on-demand views
  state text not null check (state in ('draft', 'backfilling', 'shadow', 'canary', 'live', 'deprecated', 'retired', 'abandoned')),
  created_at timestamptz not null default now(),
  unique (view, version),
  unique (view, hash)
);
-- A reader of a view without a pin reads exactly one version.
create unique index view_version_one_live on view_version (view) where state = 'live';

-- How far a version is. last_tick_ms: newest published tick (batch, sql), or newest tick whose rows are written (streaming).
create table view_progress (
  version_id integer primary key references view_version,
  sequence bigint not null default 0,     -- every event up to here is in records and snapshots
  last_tick_ms bigint,
  last_event_ms bigint,
  last_write timestamptz
);

-- When serving had a tick. A backfilled tick counts as published at tick + settle.
create table tick (
  version_id integer not null references view_version,
  tick_ms bigint not null,
  published_ms bigint not null check (published_ms >= tick_ms),
  backfilled boolean not null,
  primary key (version_id, tick_ms)
);

-- State of one entity in one version, whole: restart, materialize and refill start here. key: core/codec/key.
create table snapshot (
  version_id integer not null references view_version,
  key bytea not null,
  key_hash bigint not null,
  sequence bigint not null,          -- the greatest it includes
  as_of_ms bigint not null,
  event_ms bigint not null,
  next_step_ms bigint,               -- when its value next changes by itself; null: never
  state bytea not null,
  primary key (version_id, key)
);
create index snapshot_by_hash on snapshot (version_id, key_hash);
create index snapshot_by_step on snapshot (version_id, next_step_ms) where next_step_ms is not null;

-- One import: a file (or a table, written to a file first) into the archive. Its events have partition -id, and as offset
-- the row's number. next_byte and next_offset are the truth of how far it is.
create table import (
  id integer generated always as identity primary key,
  source text not null,
  name text not null,
  content_sha256 text not null,
  format text not null check (format in ('csv', 'arrow')),
  shift_ms bigint not null,
  until_ms bigint,                   -- rows that happen or arrive after this are withheld
  state text not null check (state in ('running', 'finished')),
  next_offset bigint not null default 0,
  next_byte bigint not null default 0,
  total_bytes bigint not null,
  total_rows bigint not null,
  counts jsonb not null default '{}', -- rows by outcome: archived, duplicate, conflict, invalid, withheld
  started_at timestamptz not null default now(),
  finished_at timestamptz,
  unique nulls not distinct (source, content_sha256, shift_ms, until_ms)
);

-- What was not archived, and why. Duplicates are only counted.
create table set_aside (
  source text not null,
  partition integer not null,
  "offset" bigint not null,
  outcome text not null check (outcome in ('invalid', 'conflict', 'too_late')),
  reason text not null,
  body text not null,
  set_aside_at timestamptz not null default now(),
  primary key (source, partition, "offset")
);

-- Backfills: the chunk ledger is the truth of how far one is.
create table backfill (
  id integer generated always as identity primary key,
  version_id integer not null references view_version,
  start_ms bigint not null,
  end_ms bigint not null check (end_ms >= start_ms),
  sequence bigint not null,          -- the archive up to here
  state text not null check (state in ('running', 'finished')),
  started_at timestamptz not null default now(),
  finished_at timestamptz,
  unique (version_id, start_ms, end_ms, sequence)
);
create table backfill_chunk (
  backfill_id integer not null references backfill,
  chunk integer not null,
  hash_start bigint not null,        -- key hashes from here
  hash_end bigint not null,          -- to here, both inside
  done boolean not null default false,
  events bigint not null default 0,
  entities bigint not null default 0,
  rows bigint not null default 0,
  primary key (backfill_id, chunk)
);

create table training_set (
  id text primary key,
  manifest jsonb not null,
  created_at timestamptz not null default now()
);

create table verification (
  id text primary key,
  checked bigint not null,
  different bigint not null,
  result jsonb not null,
  created_at timestamptz not null default now()
);
