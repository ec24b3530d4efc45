-- What a version is to the one that readers had before it, as its author said when it went live.
alter table view_version
  add column succeeds integer,     -- that one; null: the view had none
  add column succession text check (succession in ('same', 'fix', 'breaking')), -- null: undeclared, which counts as breaking
  add column reason text,
  add check (succession is null or (succeeds is not null and reason is not null));
