-- Tallies have another layout: what is not published yet is counted again.
delete from tick_tally;
update backfill_chunk set done = false where tally is not null;
