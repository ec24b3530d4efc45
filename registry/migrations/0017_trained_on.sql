-- What a model learned from, and exactly what it reads.

alter table model_lock add column trained_on text[] not null default '{}';
comment on column model_lock.trained_on is 'Ids of the training sets that the model learned from which reads by this lock.';

create or replace view lineage_now as
with made_of as (
  select id, one ->> 'view' as view, (one ->> 'version')::integer as version, (one ->> 'versionId')::integer as version_id
    from training_set, jsonb_array_elements(manifest -> 'views' || (manifest -> 'onDemand')) as one)
select l.from_kind, l.from_name, l.to_kind, l.to_name, v.version
  from lineage l left join view_version v on v.id = l.version_id
 where l.version_id is null or v.state = 'live' or v.id in (select version_id from lock_version) or v.id in (select version_id from made_of)
union all
select 'feature', feature, 'trainingSet', t.id, m.version
  from training_set t
       cross join jsonb_array_elements_text(t.manifest -> 'features') as feature
       join made_of m on m.id = t.id and m.view = split_part(feature, ':', 1)
union all
select 'service', manifest ->> 'service', 'trainingSet', id, null
  from training_set
 where manifest ->> 'service' is not null
union all
select distinct 'service', service, 'model', model, null::integer
  from lock_version
union all
-- A service may list others by now than those that a lock has of it.
select distinct 'feature', feature, 'model', l.model, v.version
  from model_lock l
       cross join jsonb_each(l.features) as service
       cross join jsonb_array_elements_text(service.value) as feature
       join lock_version v on v.model = l.model and v.number = l.number and v.service = service.key
                          and v.view = split_part(feature, ':', 1)
union all
select distinct 'trainingSet', id, 'model', model, null::integer
  from model_lock cross join unnest(trained_on) as id
 where state <> 'past';
