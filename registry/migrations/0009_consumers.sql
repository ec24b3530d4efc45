-- Who reads features, in what is known of them: models pin versions that are live no more, and everything read is counted.

create or replace view lineage_now as
select l.from_kind, l.from_name, l.to_kind, l.to_name, v.version
  from lineage l left join view_version v on v.id = l.version_id
 where l.version_id is null or v.state = 'live' or v.id in (select version_id from lock_version)
union all
select 'feature', regexp_replace(feature, '@[0-9]+:', ':'), 'trainingSet', id, substring(feature from '@([0-9]+):')::integer
  from training_set, jsonb_array_elements_text(manifest -> 'features') as feature
union all
select 'service', manifest ->> 'service', 'trainingSet', id, null
  from training_set
 where manifest ->> 'service' is not null
union all
select distinct 'service', service, 'model', model, null::integer
  from lock_version;
comment on view lineage_now is 'Lineage of what is read, down to models and training sets.';

create or replace view feature_catalog as
select f.*, v.kind, v.state, p.last_tick, p.last_event, p.last_write, p.watermark,
       array(select distinct model from lock_version l where l.version_id = v.id order by model) as models,
       (select max(last_read) from read_total r where r.version_id = v.id) as last_read
  from feature f
  join view_version v using (view, version)
  join progress p using (view, version);
comment on column feature_catalog.models is 'Whose lock reads the version.';
comment on column feature_catalog.last_read is 'When serving last answered with the version, to the minute.';
