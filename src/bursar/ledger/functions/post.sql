-- The one way by which a balance moves. Takes any number of postings as arrays (one request is an
-- array of one) and answers a row for each, in their order:
--
--   outcome   posted    it was made now
--             repeated  its cause had made it before, with the same request: `balance` is the one
--                       that stood after it then
--             reused    its cause belongs to a posting of another request: nothing was made
--             refused   the spendable balance does not cover it, or there is nothing to move:
--                       nothing was made
--             owing     the customer owes, and p_refuse_owing forbids using until that is paid
--
-- What a posting does follows from its type and the sign of its amount:
--
--   usage -, adjustment -   take by the order of use (plan, bonus, purchased; the soonest to expire
--                           first), all of it or nothing
--   hold - without source   reserve by the order of use, all of it or nothing, until p_expires: a
--                           row of `holds` under the posting's id
--   hold - with source      move from the purchased credits what is there into `held` under that
--                           source (what a pending refund would take)
--   release +               move up to the amount of that back; it pays debt first
--   expiry -                take what is left in (pool, source) once that has ended
--   refund - of forgiven    take from what was bought, with a source from that plan, what is there;
--                           the rest is nobody's debt, but what comes back of older uses and holds
--                           goes there first
--   any other +             give into (pool, source); into `purchased` it pays debt first, and so
--                           does a refund that failed, which pays what was forgiven, too
--   any other -             take from (pool, source) what is there, book the rest as a debt whose
--                           source is the cause
--
-- Locks first, in customer order; then reads; then writes. Each statement of a volatile function
-- has a snapshot of its own under READ COMMITTED, so what is read after the lock is the truth.
drop function if exists ledger_post(timestamptz, bigint[], text[], text[], bigint[], text[], text[],
    timestamptz[], text[], text[], text[], bytea[], bigint[], text[]);
create or replace function ledger_post(
    p_at timestamptz,
    p_refuse_owing boolean,
    p_customer bigint[],
    p_unit text[],
    p_type text[],
    p_amount bigint[],
    p_pool text[],
    p_source text[],
    p_expires timestamptz[],
    p_cause_kind text[],
    p_cause_id text[],
    p_purpose text[],
    p_hash bytea[],
    p_payment bigint[],
    p_description text[]
) returns table (ordinal integer, outcome text, posting_id bigint, balance bigint)
language plpgsql volatile security definer set search_path = public, pg_temp
set plan_cache_mode = force_generic_plan as $$
declare
    i integer;
    k integer;
    posting bigint;
    amount bigint;
    rest bigint;
    moved bigint;
    account record;
    -- What can be spent, in the order of use.
    ids bigint[];
    balances bigint[];
    by_order boolean;
begin
    perform 1 from customers c where c.id = any (p_customer) order by c.id for no key update;

    -- A batch of uses is worked off as a whole, if none of them can meet another's cause.
    if cardinality(p_customer) >= 3 and 'usage' = all (p_type) and 0 > all (p_amount) and (
        select count(*) from (select from unnest(p_cause_kind, p_cause_id, p_purpose)
            as u (kind, cause, purpose) group by u.kind, u.cause, u.purpose) different
    ) = cardinality(p_customer) then
        return query select u.* from ledger_post_uses(p_at, p_refuse_owing, p_customer, p_unit,
            p_amount, p_cause_kind, p_cause_id, p_purpose, p_hash, p_payment, p_description) u
        order by u.ordinal;
        return;
    end if;

    for i in 1 .. coalesce(array_length(p_customer, 1), 0) loop
        ordinal := i;
        select f.outcome, f.posting_id, f.balance into outcome, posting_id, balance
        from ledger_find(p_customer[i], p_cause_kind[i], p_cause_id[i], p_purpose[i], p_hash[i]) f;
        if found then
            return next;
            continue;
        end if;

        amount := p_amount[i];
        by_order := amount < 0 and (p_type[i] in ('usage', 'adjustment')
            or (p_type[i] = 'hold' and p_source[i] = ''));
        select array_agg(a.id order by a.rank, a.expires_at nulls last, a.id),
            array_agg(a.balance order by a.rank, a.expires_at nulls last, a.id),
            coalesce(sum(a.balance), 0)
        into ids, balances, balance
        from (
            select b.id, b.balance, b.expires_at,
                case b.pool when 'plan' then 0 when 'bonus' then 1 else 2 end as rank
            from ledger_accounts b
            where b.customer_id = p_customer[i] and b.unit = p_unit[i]
                and b.pool in ('plan', 'bonus', 'purchased') and b.balance > 0
                and (b.expires_at is null or b.expires_at > p_at)
        ) a;
        posting_id := null;
        if by_order and balance + amount < 0 then
            outcome := 'refused';
            return next;
            continue;
        end if;
        if by_order and p_refuse_owing and p_type[i] <> 'adjustment' and exists (
            select from ledger_accounts a where a.customer_id = p_customer[i]
                and a.unit = p_unit[i] and a.pool = 'debt' and a.balance < 0)
        then
            outcome := 'owing';
            return next;
            continue;
        end if;

        posting := nextval('ledger_postings_id_seq');
        if by_order then
            rest := -amount;
            k := 1;
            while rest > 0 loop
                moved := least(rest, balances[k]);
                perform ledger_move(p_customer[i], posting, ids[k], -moved);
                rest := rest - moved;
                k := k + 1;
            end loop;
            balance := balance + amount;
            if p_type[i] = 'hold' then
                perform ledger_move(p_customer[i], posting,
                    ledger_account(p_at, p_customer[i], p_unit[i], 'held', '', null), -amount);
            end if;
        elsif p_type[i] in ('hold', 'release', 'expiry') then
            -- Only what is there can move: nothing is owed for want of it.
            select a.id, abs(a.balance) as there, a.expires_at into account from ledger_accounts a
            where a.customer_id = p_customer[i] and a.unit = p_unit[i]
                and a.pool = case p_type[i] when 'hold' then 'purchased' when 'release' then 'held'
                    else p_pool[i] end
                and a.source = case p_type[i] when 'hold' then '' else p_source[i] end;
            rest := case when p_type[i] = 'expiry' and account.expires_at > p_at then 0
                else least(abs(amount), coalesce(account.there, 0)) end;
            if rest = 0 or p_type[i] = 'expiry' and account.expires_at is null then
                outcome := 'refused';
                return next;
                continue;
            end if;
            amount := sign(amount) * rest;
            if p_type[i] = 'release' then
                perform ledger_move(p_customer[i], posting, account.id, -rest);
                rest := ledger_pay_debt(p_customer[i], posting, p_unit[i], rest,
                    (select max(e.posting_id) from ledger_entries e
                    where e.account_id = account.id and e.amount > 0));
                if rest > 0 then
                    perform ledger_move(p_customer[i], posting, ledger_account(p_at,
                        p_customer[i], p_unit[i], 'purchased', '', null), rest);
                end if;
                balance := balance + rest;
            else
                perform ledger_move(p_customer[i], posting, account.id, amount);
            end if;
            if p_type[i] = 'hold' then
                perform ledger_move(p_customer[i], posting, ledger_account(p_at, p_customer[i],
                    p_unit[i], 'held', p_source[i], null), rest);
                balance := balance - rest;
            end if;
        elsif amount > 0 then
            rest := amount;
            if p_pool[i] = 'purchased' or p_type[i] = 'refund' then
                rest := ledger_pay_debt(p_customer[i], posting, p_unit[i], rest,
                    case p_type[i] when 'refund' then (select min(p.id) - 1 from ledger_postings p
                        where p.customer_id = p_customer[i] and p.payment_id = p_payment[i]
                            and p.type = 'refund') end);
            end if;
            if rest > 0 then
                perform ledger_move(p_customer[i], posting, ledger_account(p_at, p_customer[i],
                    p_unit[i], p_pool[i], p_source[i], p_expires[i]), rest);
            end if;
            -- An account that was there keeps the end it has, which is what counts.
            balance := ledger_spendable(p_at, p_customer[i], p_unit[i]);
        else
            rest := -amount;
            select a.id, a.balance into account from ledger_accounts a
            where a.customer_id = p_customer[i] and a.unit = p_unit[i]
                and a.pool = case when p_pool[i] <> 'forgiven' then p_pool[i]
                    when p_source[i] = '' then 'purchased' else 'plan' end
                and a.source = p_source[i];
            if account.balance > 0 then
                moved := least(rest, account.balance);
                perform ledger_move(p_customer[i], posting, account.id, -moved);
                rest := rest - moved;
            end if;
            if rest > 0 then
                perform ledger_move(p_customer[i], posting, ledger_account(p_at, p_customer[i],
                    p_unit[i], case p_pool[i] when 'forgiven' then 'forgiven' else 'debt' end,
                    p_cause_kind[i] || ':' || p_cause_id[i], null), -rest);
            end if;
            balance := ledger_spendable(p_at, p_customer[i], p_unit[i]);
        end if;

        perform ledger_book(p_at, p_customer[i], posting, p_unit[i], p_type[i], amount, balance,
            p_payment[i], null, null, p_description[i], p_cause_kind[i], p_cause_id[i],
            p_purpose[i], p_hash[i]);
        if by_order and p_type[i] = 'hold' then
            insert into holds (customer_id, id, unit, amount, expires_at, created_at)
            values (p_customer[i], posting, p_unit[i], -amount, p_expires[i], p_at);
        end if;
        posting_id := posting;
        outcome := 'posted';
        return next;
    end loop;
end $$;
revoke execute on function ledger_post from public;
