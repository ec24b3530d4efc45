-- What the number of rows of a tick is compared with.
create table tick_rows (
  version_id integer not null references view_version,
  tick_ms bigint not null,
  cadence_ms bigint not null,
  rows bigint not null,
  primary key (version_id, tick_ms)
);
comment on table tick_rows is 'How many rows the newest tick of each run had that was not kept from being published: of a sql view those its query gave, else those that changed since the tick before.';
comment on column tick_rows.cadence_ms is 'Of the ticks then: only rows of equal spans are compared.';

-- Tallies have another layout: what is not published yet is counted again.
delete from tick_tally;
update backfill_chunk set done = false where tally is not null;

-- What is in the snapshots of a stream and was not judged yet: a reader that ends leaves it to the next.
alter table stream_attached add column counted_after bigint, add column tally bytea;
comment on column stream_attached.counted_after is 'Events after this sequence, up to that of the snapshots, are not judged yet; null: all are.';
