-- Payments whole: orders captured by hand, disputes, links, the mirror of the provider's catalogue,
-- and who is told of what happened.

-- What an order may still take, and until when: authorised by the buyer's bank, not taken yet.
alter table payments
    add column authorized_minor bigint check (authorized_minor >= 0),
    add column authorized_until timestamptz;
create index payments_to_review on payments (authorized_until) where state = 'authorized';
