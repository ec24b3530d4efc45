-- What people query: everything known about a feature in one row, and what is made of what, from tables to models.

create index feature_statistics_newest on feature_statistics (version_id, feature, (what in ('tick', 'backfill')), at);
-- What is old is looked for every minute (activities/forget.ts).
create index feature_statistics_old on feature_statistics (at) where what = 'tick';
create index expectation_result_old on expectation_result (at) where what in ('tick', 'stream') and (passed or severity = 'warn');
create index read_count_old on read_count (minute);

create view expectation_now as
select v.id as version_id, v.view, v.version, newest.*
  from view_version v
       cross join jsonb_array_elements(v.definition -> 'expectations') as expected
       cross join lateral (
         select expectation, feature, severity, what, reference, at, passed, observed, allowed, said
           from expectation_result r
          where r.version_id = v.id and r.severity = expected ->> 'severity'
            and r.expectation = concat_ws(' of ', expected ->> 'type', expected ->> 'feature')
          order by r.at desc
          limit 1) as newest;
comment on view expectation_now is 'What came last of each expectation that a version has now.';

create view feature_catalog as
select f.*, v.kind, v.state, p.last_tick, p.last_event, p.last_write, p.watermark,
       array(select distinct model from lock_version l where l.version_id = v.id order by model) as models,
       (select max(last_read) from read_total r where r.version_id = v.id) as last_read,
       (select to_jsonb(newest) from (
          select what, reference, at, count, nulls, min, max, mean, deviation, p1, p5, p25, p50, p75, p95, p99, distinct_values, top, top_missed
            from feature_statistics s
           where s.version_id = v.id and s.feature = f.feature
             and case what when 'tick' then reference::timestamptz <= p.last_tick else true end
           order by what in ('tick', 'backfill') desc, at desc
           limit 1) as newest) as statistics,
       (select jsonb_agg(to_jsonb(e) - array['version_id', 'view', 'version'] order by e.expectation collate "C", e.severity)
          from expectation_now e
         where e.version_id = v.id and (e.feature is null or e.feature = f.feature)) as expectation_results
  from feature f
  join view_version v using (view, version)
  join progress p using (view, version);
comment on view feature_catalog is 'Everything known about a feature, one row for each of its versions.';
comment on column feature_catalog.models is 'Whose lock reads the version.';
comment on column feature_catalog.last_read is 'When serving last answered with the version, to the minute.';
comment on column feature_catalog.statistics is 'Of its values: of the newest published tick or backfill; where there is none, of the newest training set. As in feature_statistics.';
comment on column feature_catalog.expectation_results is 'What came last of each of its expectations; null: of none anything yet.';

-- Of what is read, down to models and training sets; a training set was made of versions that may be live no more.
create view lineage_now as
with made_of as (
  select id, one ->> 'view' as view, (one ->> 'version')::integer as version, (one ->> 'versionId')::integer as version_id
    from training_set, jsonb_array_elements(coalesce(manifest -> 'views', '[]') || coalesce(manifest -> 'onDemand', '[]')) as one)
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
comment on view lineage_now is 'Lineage of what is read, down to models and training sets.';
