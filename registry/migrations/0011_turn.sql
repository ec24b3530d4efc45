-- A plan has its turn from the moment it is saved, and no other is saved meanwhile. Those of before that were never opened have none.
update plan set state = 'abandoned' where state = 'saved';
drop index plan_one_open;
create unique index plan_one_has_its_turn on plan ((true)) where state in ('saved', 'open');
