-- What people ask of features: what they are, what depends on what, how far they are; and who changed what. Written by the transaction
-- that activates a plan, from the definitions (core/describe.ts).

create table feature (
  view text not null,
  version integer not null,
  feature text not null,
  description text not null,
  owner text not null,
  contact text,
  tags text[] not null,
  entities text[] not null,
  keys text[] not null,
  sources text[] not null,
  reads text[] not null,
  transformation text not null,
  exact jsonb not null,
  type text not null,
  nullable boolean not null,
  min double precision,
  max double precision,
  allowed jsonb,
  expectations jsonb not null,
  computed text not null,
  tier text,
  expected_every_ms bigint,
  ttl_ms bigint,
  cold_start jsonb not null,
  primary key (view, version, feature),
  foreign key (view, version) references view_version (view, version)
);
comment on table feature is 'Every feature of every version that was ever live, as its authors said last. State and progress: feature_catalog.';
comment on column feature.contact is 'How to reach the owner; null: nobody said.';
comment on column feature.entities is 'What it is about: one; of an on-demand feature those of the views it reads.';
comment on column feature.keys is 'Their join keys.';
comment on column feature.sources is 'Sources by name; of a sql view the tables it reads.';
comment on column feature.reads is 'Columns as orders.amount, features as view:feature, fields of the request as request.field.';
comment on column feature.transformation is 'What it is made by, in words.';
comment on column feature.exact is 'The same as it stands in the definition.';
comment on column feature.nullable is 'Whether a value may be null, the cold start''s included.';
comment on column feature.min is 'No value is less, as far as its definition and what its authors expect say; null: not known.';
comment on column feature.allowed is 'The only values but null that its authors expect; null: any.';
comment on column feature.computed is 'When its values move.';
comment on column feature.expected_every_ms is 'How often something new is expected; with tier, its freshness.';
comment on column feature.ttl_ms is 'Older than this counts as no history; null: never.';
comment on column feature.cold_start is 'The value for those without history.';

create table lineage (
  from_kind text not null,
  from_name text not null,
  to_kind text not null,
  to_name text not null,
  version_id integer references view_version,
  unique nulls not distinct (from_kind, from_name, to_kind, to_name, version_id)
);
create index lineage_up on lineage (to_kind, to_name);
create index lineage_version on lineage (version_id);
comment on table lineage is 'What is made of what: table or topic, source, column, entity, request, view, feature, service. Columns as source.column, fields of the request as request.field, features as view:feature. What holds now, models and training sets included: lineage_now.';
comment on column lineage.version_id is 'The view version by which it is so; null: a service, as it is applied now.';

create view progress as
select v.id as version_id, v.view, v.version, v.state, p.sequence,
       timestamptz 'epoch' + p.last_tick_ms * interval '1 ms' as last_tick,
       timestamptz 'epoch' + p.last_event_ms * interval '1 ms' as last_event,
       p.last_write,
       timestamptz 'epoch' + interval '1 ms' * case
         when v.definition #>> '{mode,type}' = 'streaming' and (v.source ? 'stream' or v.source #>> '{input,type}' = 'topic') then
           (select min(o.greatest_event_ms) from stream_offset o where o.source = v.source ->> 'name') - (v.source ->> 'allowedLatenessMs')::bigint
         else p.last_tick_ms end as watermark
  from view_version v left join view_progress p on p.version_id = v.id;
comment on view progress is 'How far each version of each view is.';
comment on column progress.watermark is 'What happened up to here is in it, lateness allowed for. Of a view of a stream: by the least of the partitions that have events; else the last tick.';

-- Who changed what: a row in the transaction of the change.
create table audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  who text not null,
  action text not null,
  kind text not null,
  name text not null,
  before jsonb,
  after jsonb,
  plan_hash text,
  workflow text
);
create index audit_object on audit (kind, name);
comment on table audit is 'Every change, never changed itself.';
comment on column audit.kind is 'Of what was changed: plan, project, policy, owner, entity, source, view, service, model, stream; or run: what somebody asked of one.';
comment on column audit.before is 'null: it was not there.';
comment on column audit.after is 'null: it is not there any more.';
comment on column audit.workflow is 'The run that it was part of.';

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is only ever added to', tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger audit_append_only before update or delete or truncate on audit
  for each statement execute function refuse_change();

-- Who asked for it.
alter table plan add column saved_by text not null default 'unknown';
