-- Streams: how far each partition of a source's topic is, who reads it, and what is on its way.

-- The truth of how far a stream is. Whoever reads the partition has claimed an epoch; every transaction of theirs first moves this
-- row on from (epoch, next_offset), so one that has lost it changes nothing, whatever it believes.
create table stream_offset (
  source text not null,
  partition integer not null check (partition >= 0),
  topic text not null,
  epoch bigint not null default 0,
  next_offset bigint not null default 0,
  mark_offset bigint,                -- of the newest message read: a topic that was made again has another one there
  mark_digest text,
  check ((mark_offset is null) = (mark_digest is null)),
  arrived_ms bigint,                 -- of its newest batch; never decreases
  greatest_event_ms bigint,          -- of its archived events; less the allowed lateness it is the watermark
  archived bigint not null default 0,
  duplicate bigint not null default 0,
  conflict bigint not null default 0,
  invalid bigint not null default 0,
  too_late bigint not null default 0,
  late bigint not null default 0,    -- of the archived: a newer event of the partition was archived before
  parity bigint not null default 0,  -- records that Redis held with other bytes for the same moment: an alarm
  -- of the reader, for people; a few seconds old
  end_offset bigint,                 -- of the topic: less next_offset it is the lag
  rate_per_second double precision,
  state text not null default 'waiting' check (state in ('waiting', 'running', 'paused', 'drained')),
  seen_at timestamptz,
  primary key (source, partition)
);

-- What an operator wants of a stream; its readers look in every batch.
create table stream_control (
  source text primary key,
  wanted text not null check (wanted in ('run', 'pause', 'drain')),
  changed_at timestamptz not null default clock_timestamp()
);

-- Events a little ahead of the clock: they are archived, and arrive, when their time has come.
create table held (
  source text not null,
  partition integer not null,
  "offset" bigint not null,
  event_ms bigint not null,
  body text not null,
  primary key (source, partition, "offset")
);
create index held_by_time on held (source, partition, event_ms);

-- From where on a version's events come from the stream; what was archived before `sequence` came from its backfill or was folded then.
create table stream_attached (
  version_id integer not null references view_version,
  partition integer not null,
  next_offset bigint not null,
  sequence bigint not null,
  published bigint not null default 0, -- every event of the partition up to here is in the version's online records
  attached_at timestamptz not null default clock_timestamp(),
  primary key (version_id, partition)
);

-- The newest transaction of an import: a stream of the same source takes its events in.
alter table import add column last_sequence bigint not null default 0;

-- When the online record of a snapshot's state ends, though its steps go on: the stream writes it again then.
alter table snapshot add column refresh_ms bigint;
create index snapshot_by_refresh on snapshot (version_id, refresh_ms) where refresh_ms is not null;

-- The oldest tick that has rows: from it to last_tick_ms there is no gap.
alter table view_progress add column first_tick_ms bigint;
update view_progress p
   set first_tick_ms = coalesce((select min(start_ms) from backfill b where b.version_id = p.version_id and b.state = 'finished'), last_tick_ms);

-- What Redis missed while it was away: the records of all entities of the version with events in (after, until] are to be written
-- again, by the workflow dual-write/<view>@<version>/<after>, which then deletes the row.
create table owed (
  id bigint generated always as identity primary key,
  version_id integer not null references view_version,
  after_sequence bigint not null,
  until_sequence bigint check (until_sequence >= after_sequence), -- null: it goes on
  since timestamptz not null default clock_timestamp(),
  asked_at timestamptz                                            -- when its workflow was last asked for
);
create unique index owed_one_open on owed (version_id) where until_sequence is null;
