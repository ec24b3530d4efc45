-- What the values of a feature are, and whether they are as expected, beside everything else that is known of it.

create index feature_statistics_newest on feature_statistics (version_id, feature, (what in ('tick', 'backfill')), at);

create view expectation_now as
select v.view, v.version, newest.*
  from view_version v
       cross join jsonb_array_elements(v.definition -> 'expectations') as expected
       cross join lateral (
         select * from expectation_result r
          where r.version_id = v.id and r.severity = expected ->> 'severity'
            and r.expectation = concat_ws(' of ', expected ->> 'type', expected ->> 'feature')
          order by r.at desc
          limit 1) as newest;
comment on view expectation_now is 'What came last of each expectation that a version has now.';

create or replace view feature_catalog as
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
comment on column feature_catalog.statistics is 'Of its values: of the newest published tick or backfill; where there is none, of the newest training set. As in feature_statistics.';
comment on column feature_catalog.expectation_results is 'What came last of each of its expectations; null: of none anything yet.';
