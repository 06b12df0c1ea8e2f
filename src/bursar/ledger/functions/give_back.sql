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
-- the purpose `…:expiry`. What was bought and comes back pays debt: a refund may have taken
-- meanwhile what was used then, and had less been used, these would have gone with it.
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
language plpgsql volatile security definer set search_path = public, pg_temp as $$
declare
    i integer;
    leg record;
    given_unit text;
    returned bigint;
    amount bigint;
    posting bigint;
    rest bigint;
    part bigint;
    ended bigint;
    ended_ids bigint[];
    ended_parts bigint[];
    moment timestamptz;
begin
    perform 1 from customers c where c.id = any (p_customer) order by c.id for no key update;

    for i in 1 .. coalesce(array_length(p_customer, 1), 0) loop
        ordinal := i;
        returnable := null;
        select f.outcome, f.posting_id, f.balance into outcome, posting_id, balance
        from ledger_find(p_customer[i], p_cause_kind[i], p_cause_id[i], p_purpose[i], p_hash[i]) f;
        if found then
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

        moment := ledger_moment(p_at, p_customer[i]);
        balance := ledger_spendable(moment, p_customer[i], given_unit);
        select coalesce(sum(p.amount), 0) into returned from ledger_postings p
        where p.customer_id = p_customer[i] and p.reverses = p_posting[i];
        select coalesce(-sum(e.amount), 0) - returned into returnable from ledger_entries e
        join ledger_accounts a on a.id = e.account_id
        where e.customer_id = p_customer[i] and e.posting_id = p_posting[i]
            and a.pool in ('plan', 'bonus', 'purchased');
        amount := coalesce(p_amount[i], returnable);
        if amount > returnable or amount = 0 then
            outcome := 'refused';
            return next;
            continue;
        end if;

        posting := nextval('ledger_postings_id_seq');
        ended := 0;
        ended_ids := '{}';
        ended_parts := '{}';
        rest := amount;
        -- What was given back before covers the last legs; from there on backwards.
        for leg in
            select a.id, a.pool, a.expires_at, -e.amount as taken from ledger_entries e
            join ledger_accounts a on a.id = e.account_id
            where e.customer_id = p_customer[i] and e.posting_id = p_posting[i]
                and a.pool in ('plan', 'bonus', 'purchased')
            order by e.id desc
        loop
            exit when rest = 0;
            part := least(rest, greatest(leg.taken - returned, 0));
            returned := greatest(returned - leg.taken, 0);
            rest := rest - part;
            if leg.pool = 'purchased' then
                part := ledger_pay_debt(p_customer[i], posting, given_unit, part,
                    p_posting[i]);
            end if;
            continue when part = 0;
            perform ledger_move(p_customer[i], posting, leg.id, part);
            if leg.expires_at <= moment then
                ended := ended + part;
                ended_ids := ended_ids || leg.id;
                ended_parts := ended_parts || part;
            else
                balance := balance + part;
            end if;
        end loop;

        perform ledger_book(moment, p_customer[i], posting, given_unit, 'usage', amount, balance,
            null, p_posting[i], null, p_description[i], p_cause_kind[i], p_cause_id[i],
            p_purpose[i], p_hash[i]);
        perform ledger_end(moment, p_customer[i], given_unit, ended_ids, ended_parts, balance, null,
            p_cause_kind[i], p_cause_id[i], p_purpose[i] || ':expiry', p_hash[i]);
        posting_id := posting;
        outcome := 'posted';
        return next;
    end loop;
end $$;
revoke execute on function ledger_give_back from public;

-- What came back to accounts that have ended ends at once: one posting, a leg for each of them.
create or replace function ledger_end(
    p_at timestamptz, p_customer bigint, p_unit text, p_accounts bigint[], p_parts bigint[],
    p_balance bigint, p_hold bigint, p_cause_kind text, p_cause_id text, p_purpose text,
    p_hash bytea
) returns void language plpgsql volatile as $$
declare
    posting bigint;
    ended bigint := 0;
    k integer;
begin
    if array_length(p_accounts, 1) is null then
        return;
    end if;
    posting := nextval('ledger_postings_id_seq');
    for k in 1 .. array_length(p_accounts, 1) loop
        perform ledger_move(p_customer, posting, p_accounts[k], -p_parts[k]);
        ended := ended + p_parts[k];
    end loop;
    perform ledger_book(p_at, p_customer, posting, p_unit, 'expiry', -ended, p_balance, null, null,
        p_hold, null, p_cause_kind, p_cause_id, p_purpose, p_hash);
end $$;
revoke execute on function ledger_end from public;
