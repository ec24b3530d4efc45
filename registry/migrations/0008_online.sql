-- The online set: the versions that somebody reads. Of no other is anything kept in Redis.

alter table view_version
  add column online boolean not null default false,   -- somebody reads it
  add column in_redis boolean not null default false, -- something of it may be in Redis: until its fields were removed
  add check (in_redis or not online or kind = 'onDemand');

-- Numbers the changes of the set: Redis keeps the newest it was told.
alter table generation add column online_change bigint not null default 0;

-- Until now everything was kept. What the services of the present definitions do not read is removed with the next apply.
with present as (select definitions from revision order by revision desc limit 1),
named as (
  select distinct split_part(feature, ':', 1) as view
    from present, jsonb_array_elements(definitions -> 'services') as service, jsonb_array_elements_text(service -> 'features') as feature),
inputs as (
  select distinct split_part(input, ':', 1) as view
    from present, jsonb_array_elements(definitions -> 'views') as view, jsonb_array_elements_text(view -> 'inputs') as input
   where view ->> 'kind' = 'onDemand' and view ->> 'name' in (select named.view from named))
update view_version
   set online = state in ('live', 'backfilling') and (view in (select view from named) or view in (select view from inputs)),
       in_redis = kind <> 'onDemand' and state <> 'abandoned';
update generation set online_change = 1 where exists (select 1 from view_version where online);

-- Views of a verification that nobody reads: there were none.
update verification set result = result || '{"unread": []}';
