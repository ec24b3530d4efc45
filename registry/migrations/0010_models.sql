-- Models: who they are, the versions that they read, and what was read.

create table model (
  name text primary key,
  owner text not null,
  description text not null,
  registered_at timestamptz not null default now(),
  registered_by text not null,
  removed_at timestamptz,                -- null: it is registered
  change integer not null default 0 check (change >= 0) -- numbers its changes: a writer says which one it has seen
);
comment on table model is 'Programs that read features by a lock of their own.';

-- What a model reads. Only its state changes: a lock that was replaced stays.
create table model_lock (
  model text not null references model,
  number integer not null check (number > 0),
  lock jsonb not null,                   -- core/lock.ts
  features jsonb not null,               -- service → its features when it was locked: they are what the model gets
  state text not null check (state in ('live', 'canary', 'past')),
  share double precision check (share > 0 and share < 1), -- of the model's requests
  created_at timestamptz not null default now(),
  created_by text not null,
  trained_on text[] not null default '{}',
  primary key (model, number),
  check ((state = 'canary') = (share is not null))
);
create unique index model_lock_one_live on model_lock (model) where state = 'live';
create unique index model_lock_one_canary on model_lock (model) where state = 'canary';
comment on table model_lock is 'The exact versions that a model reads: at most one live lock, and one canary that gets a share of its requests.';
comment on column model_lock.trained_on is 'Ids of the training sets that the model learned from which reads by this lock.';

-- The versions in locks that are read.
create view lock_version as
  select l.model, l.number, l.state, l.share, service.key as service, v.view, v.version, v.id as version_id
    from model_lock l
         cross join jsonb_each(l.lock -> 'services') as service
         cross join jsonb_each(service.value) as pinned
         join view_version v on v.view = pinned.key and v.version = (pinned.value ->> 'version')::integer
   where l.state <> 'past';
comment on view lock_version is 'Which model reads which version, by which service, now.';

-- Requests that serving answered: model '' was not named, service '' was a list of features.
create table read_count (
  model text not null,
  service text not null,
  version_id integer not null references view_version,
  minute timestamptz not null,
  reads bigint not null check (reads > 0),
  primary key (model, service, version_id, minute)
);
comment on table read_count is 'Requests answered, per minute.';
create table read_total (
  model text not null,
  service text not null,
  version_id integer not null references view_version,
  reads bigint not null check (reads > 0),
  last_read timestamptz not null,        -- the minute
  primary key (model, service, version_id)
);
create index read_total_by_version on read_total (version_id);
comment on table read_total is 'Requests answered, ever, and when last.';

-- Batches that came from Redis: one that comes again is known.
create table read_batch (
  batch uuid primary key,
  collected_at timestamptz not null default now()
);
