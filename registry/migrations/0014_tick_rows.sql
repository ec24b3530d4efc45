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
