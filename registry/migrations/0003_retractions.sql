-- A state whose events were all retracted has no newest event.
alter table snapshot alter column event_ms drop not null;
