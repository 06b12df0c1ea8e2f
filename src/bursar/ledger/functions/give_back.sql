-- Gives uses back, whole or in part: to the accounts from which they were taken, the last taken
-- first, as if less had been used. Takes arrays as ledger_post does and answers a row for each:
--
--   outcome   posted    it was made now
--             repeated  its cause had made it before, with the same request: `balance` is the one
--                       that stood after it then
--             reused    its cause belongs to a posting of another request: nothing was made
--             refused   more than is left of the use, or nothing is left of it: nothing was made
--             unknown   the customer has no use of this id: nothing was made
--
-- p_amount null means all that is left; `returnable` is what was left of the use before this. What
-- returns to an account that has ended meanwhile ends at once, by a posting `expiry` beside it with
-- the purpose `…:expiry`. It pays no debt: what was used comes back to where it was.
--
-- Locks first, in customer order; then reads; then writes, as in ledger_post.
create or replace function ledger_give_back(
    p_at timestamptz,
    p_customer bigint[],
    p_posting bigint[],
    p_amount bigint[],
    p_cause_kind text[],
    p_cause_id text[],
    p_purpose text[],
    p_hash bytea[],
    p_description text[]
) returns table (
    ordinal integer, outcome text, posting_id bigint, balance bigint, returnable bigint
)
language plpgsql volatile as $$
declare
    pools constant text[] := array['plan', 'bonus', 'purchased'];
    i integer;
    cause ledger_causes%rowtype;
    leg record;
    given_unit text;
    spendable bigint;
    returned bigint;
    amount bigint;
    posting bigint;
    expiry bigint;
    rest bigint;
    part bigint;
    ended bigint;
    debt record;
    paid bigint;
begin
    perform 1 from customers c where c.id = any (p_customer) order by c.id for no key update;

    for i in 1 .. coalesce(array_length(p_customer, 1), 0) loop
        ordinal := i;
        returnable := null;
        select * into cause from ledger_causes c
        where c.kind = p_cause_kind[i] and c.cause_id = p_cause_id[i] and c.purpose = p_purpose[i];
        if found then
            posting_id := cause.posting_id;
            balance := cause.balance_after;
            outcome := case
                when cause.customer_id = p_customer[i]
                    and cause.request_hash is not distinct from p_hash[i]
                then 'repeated' else 'reused' end;
            return next;
            continue;
        end if;

        posting_id := null;
        balance := null;
        select p.unit into given_unit from ledger_postings p
        where p.customer_id = p_customer[i] and p.id = p_posting[i]
            and p.type = 'usage' and p.amount < 0;
        if not found then
            outcome := 'unknown';
            return next;
            continue;
        end if;

        select coalesce(sum(a.balance), 0) into spendable from ledger_accounts a
        where a.customer_id = p_customer[i] and a.unit = given_unit and a.pool = any (pools)
            and (a.expires_at is null or a.expires_at > p_at);
        select coalesce(sum(p.amount), 0) into returned from ledger_postings p
        where p.customer_id = p_customer[i] and p.reverses = p_posting[i];
        select coalesce(-sum(e.amount), 0) - returned into returnable from ledger_entries e
        join ledger_accounts a on a.id = e.account_id
        where e.customer_id = p_customer[i] and e.posting_id = p_posting[i]
            and a.pool = any (pools);
        amount := coalesce(p_amount[i], returnable);
        if amount > returnable or amount = 0 then
            balance := spendable;
            outcome := 'refused';
            return next;
            continue;
        end if;

        posting := nextval(pg_get_serial_sequence('ledger_postings', 'id'));
        expiry := null;
        ended := 0;
        rest := amount;
        -- What was given back before covers the last legs; from there on backwards.
        for leg in
            select a.id, a.pool, a.expires_at, -e.amount as taken from ledger_entries e
            join ledger_accounts a on a.id = e.account_id
            where e.customer_id = p_customer[i] and e.posting_id = p_posting[i]
                and a.pool = any (pools)
            order by e.id desc
        loop
            exit when rest = 0;
            part := least(rest, greatest(leg.taken - returned, 0));
            returned := greatest(returned - leg.taken, 0);
            continue when part = 0;
            rest := rest - part;
            if leg.pool = 'purchased' then
                -- A refund may have taken meanwhile what was used then: as if less had been used,
                -- these would have gone with it.
                for debt in
                    select a.id, a.balance from ledger_accounts a
                    where a.customer_id = p_customer[i] and a.unit = given_unit
                        and a.pool = 'debt' and a.balance < 0
                    order by a.id
                loop
                    exit when part = 0;
                    paid := least(part, -debt.balance);
                    perform ledger_move(p_customer[i], posting, debt.id, paid);
                    part := part - paid;
                end loop;
                continue when part = 0;
            end if;
            perform ledger_move(p_customer[i], posting, leg.id, part);
            if leg.expires_at <= p_at then
                expiry := coalesce(expiry,
                    nextval(pg_get_serial_sequence('ledger_postings', 'id')));
                perform ledger_move(p_customer[i], expiry, leg.id, -part);
                ended := ended + part;
            else
                spendable := spendable + part;
            end if;
        end loop;

        perform ledger_book(p_at, p_customer[i], posting, given_unit, 'usage', amount, spendable,
            p_posting[i], p_description[i], p_cause_kind[i], p_cause_id[i], p_purpose[i],
            p_hash[i]);
        if expiry is not null then
            perform ledger_book(p_at, p_customer[i], expiry, given_unit, 'expiry', -ended,
                spendable, null, null, p_cause_kind[i], p_cause_id[i], p_purpose[i] || ':expiry',
                p_hash[i]);
        end if;
        posting_id := posting;
        balance := spendable;
        outcome := 'posted';
        return next;
    end loop;
end $$;

-- Closes a posting whose legs on the customer's accounts are made: the house's leg, the posting
-- itself and its cause.
create or replace function ledger_book(
    p_at timestamptz, p_customer bigint, p_posting bigint, p_unit text, p_type text,
    p_amount bigint, p_balance bigint, p_reverses bigint, p_description text,
    p_cause_kind text, p_cause_id text, p_purpose text, p_hash bytea
) returns void language plpgsql volatile as $$
begin
    insert into ledger_entries (customer_id, posting_id, account_id, amount)
    values (p_customer, p_posting,
        ledger_account(p_at, 0, p_unit, 'house', p_type, null), -p_amount);
    insert into ledger_postings
        (customer_id, id, unit, type, amount, balance_after, reverses, description, created_at)
    values (p_customer, p_posting, p_unit, p_type, p_amount, p_balance, p_reverses, p_description,
        p_at);
    insert into ledger_causes
        (kind, cause_id, purpose, customer_id, posting_id, request_hash, balance_after)
    values (p_cause_kind, p_cause_id, p_purpose, p_customer, p_posting, p_hash, p_balance);
end $$;
