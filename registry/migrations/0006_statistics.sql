-- What is known of the values that were written, and what came of what their authors expect of them.

create table feature_statistics (
  version_id integer not null references view_version,
  feature text not null,
  what text not null check (what in ('tick', 'backfill', 'training-set', 'served')),
  reference text not null,
  at timestamptz not null default clock_timestamp(),
  count bigint not null,
  nulls bigint not null check (nulls between 0 and count),
  min numeric,
  max numeric,
  mean double precision,
  deviation double precision,
  p1 double precision,
  p5 double precision,
  p25 double precision,
  p50 double precision,
  p75 double precision,
  p95 double precision,
  p99 double precision,
  distinct_values bigint,
  top jsonb,
  top_missed bigint,
  sketch bytea not null,
  primary key (version_id, what, reference, feature)
);
comment on table feature_statistics is 'Of the values of a feature that were written at once. Texts and lists are measured by their length, maps by their size, bools as 0 and 1, timestamps as ms since 1970.';
comment on column feature_statistics.what is 'A tick (of each entity its newest row), a backfill (all rows), a training set (its column), or what serving gave.';
comment on column feature_statistics.reference is 'Which: the tick as RFC 3339, the id of the backfill or of the training set.';
comment on column feature_statistics.count is 'Of values, nulls among them.';
comment on column feature_statistics.deviation is 'Of all values (a population). Exact and rounded once, as the mean.';
comment on column feature_statistics.p50 is 'As the other quantiles within 1/128 of the true one; of timestamps within 12 hours.';
comment on column feature_statistics.distinct_values is 'Estimated, with a standard error of 1.6 %; null where values are not told apart (lists, maps).';
comment on column feature_statistics.top is 'The most frequent values with their counts; null for float64, timestamp, lists and maps.';
comment on column feature_statistics.top_missed is 'By how much each count of top may be too low, at most.';
comment on column feature_statistics.sketch is 'The whole summary; those of several rows can be merged (core/statistics.ts).';

create table expectation_result (
  version_id integer not null references view_version,
  expectation text not null,
  feature text,
  severity text not null check (severity in ('warn', 'block')),
  what text not null check (what in ('tick', 'backfill', 'stream')),
  reference text not null,
  at timestamptz not null default clock_timestamp(),
  passed boolean not null,
  observed double precision,
  allowed double precision not null,
  said text not null,
  primary key (version_id, what, reference, expectation, severity)
);
create index expectation_result_newest on expectation_result (version_id, expectation, severity, at);
comment on table expectation_result is 'What came of the expectations of a view, each time it was written.';
comment on column expectation_result.reference is 'Which: the tick as RFC 3339, the id of the backfill, or partition and sequence of the stream.';
comment on column expectation_result.observed is 'A share, a number of values or events, milliseconds, or a relative change; null: there was nothing to tell it by.';
comment on column expectation_result.allowed is 'The greatest that passes, as observed.';

-- Tallies of parts, until they are put together (core/tally.ts). A chunk's is written with `done`, or before where it is looked at first.
alter table backfill_chunk add column tally bytea;
create table tick_tally (
  version_id integer not null references view_version,
  until_ms bigint not null,
  part integer not null,
  tally bytea not null,
  primary key (version_id, until_ms, part)
);

-- One that breaks what is expected of it: its chunks are made anew when it is asked for again.
alter table backfill drop constraint backfill_state_check;
alter table backfill add check (state in ('running', 'finished', 'blocked'));

-- Why the platform itself has paused a stream; null: an operator did.
alter table stream_control add column reason text;
