-- Tallies have another layout: what is not published yet is counted again.
delete from tick_tally;
update backfill_chunk set done = false where tally is not null;

-- What is in the snapshots of a stream and was not judged yet: a reader that ends leaves it to the next.
alter table stream_attached add column counted_after bigint, add column tally bytea;
comment on column stream_attached.counted_after is 'Events after this sequence, up to that of the snapshots, are not judged yet; null: all are.';
