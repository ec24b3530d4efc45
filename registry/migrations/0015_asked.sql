-- What people ask of runs stands in the audit, too.
comment on column audit.kind is 'Of what was changed: plan, entity, source, view, service, owner, policy, project, model, stream; or run: what somebody asked of one.';
