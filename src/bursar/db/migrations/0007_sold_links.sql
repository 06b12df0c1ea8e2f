-- What a link promised when it was made: name, unit, credits and rights for its price. Of a link
-- from before it is not known, so a purchase by it is a person's to look at.
alter table payment_links add column promise jsonb;
create index payment_links_provider on payment_links (provider, link_id)
    where link_id is not null;

-- An order that was to be reviewed, and had nothing left to hold.
alter table cases drop constraint cases_kind_check;
alter table cases add constraint cases_kind_check check (kind in ('unmatched', 'mismatch',
    'excess', 'duplicate', 'dead', 'unknown', 'drift', 'review'));
