-- The one way by which a balance moves. Takes any number of postings as arrays (one request is an
-- array of one) and answers a row for each, in their order:
--
--   outcome   posted    it was made now
--             repeated  its cause had made it before, with the same request: `balance` is the one
--                       that stood after it then
--             reused    its cause belongs to a posting of another request: nothing was made
--   refused   a use that the spendable balance does not cover, a hold or a release of nothing:
--             nothing was made
--
-- amount > 0 gives: into (pool, source), after the customer's debt has been paid if the type is
-- `purchase` or `refund` (what a failed refund gives back). amount < 0 of type `usage` takes by the
-- order of use (plan, bonus, purchased; the soonest to expire first). Type `hold` moves from the
-- purchased credits what is there, at most -amount, into the pool `held` under `source`; type
-- `release` moves up to amount of it back, and pays debt first. Any other amount < 0 takes from
-- (pool, source) what is there, and books the rest as a debt whose source is the cause.
--
-- Locks first, in customer order; then reads; then writes. Each statement of a volatile function
-- has a snapshot of its own under READ COMMITTED, so what is read after the lock is the truth.
create or replace function ledger_post(
    p_at timestamptz,
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
language plpgsql volatile as $$
declare
    i integer;
    cause ledger_causes%rowtype;
    spendable bigint;
    posting bigint;
    house bigint;
    rest bigint;
    moved bigint;
    account record;
begin
    perform 1 from customers c where c.id = any (p_customer) order by c.id for no key update;

    for i in 1 .. coalesce(array_length(p_customer, 1), 0) loop
        ordinal := i;
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

        select coalesce(sum(a.balance), 0) into spendable from ledger_accounts a
        where a.customer_id = p_customer[i] and a.unit = p_unit[i]
            and a.pool in ('plan', 'bonus', 'purchased')
            and (a.expires_at is null or a.expires_at > p_at);
        if p_type[i] = 'usage' and spendable + p_amount[i] < 0 then
            posting_id := null;
            balance := spendable;
            outcome := 'refused';
            return next;
            continue;
        end if;

        posting := nextval(pg_get_serial_sequence('ledger_postings', 'id'));
        rest := abs(p_amount[i]);
        if p_type[i] in ('hold', 'release') then
            -- Only what is there can move: nothing is owed for want of a hold.
            select least(rest, coalesce(max(a.balance), 0)) into rest from ledger_accounts a
            where a.customer_id = p_customer[i] and a.unit = p_unit[i]
                and a.pool = case p_type[i] when 'hold' then 'purchased' else 'held' end
                and a.source = case p_type[i] when 'hold' then '' else p_source[i] end;
            if rest = 0 then
                posting_id := null;
                balance := spendable;
                outcome := 'refused';
                return next;
                continue;
            end if;
            p_amount[i] := sign(p_amount[i]) * rest;
            perform ledger_move(p_customer[i], posting, ledger_account(p_at, p_customer[i],
                p_unit[i], 'held', p_source[i], null), -p_amount[i]);
        end if;
        if p_type[i] = 'usage' then
            for account in
                select a.id, a.balance from ledger_accounts a
                where a.customer_id = p_customer[i] and a.unit = p_unit[i]
                    and a.pool in ('plan', 'bonus', 'purchased') and a.balance > 0
                    and (a.expires_at is null or a.expires_at > p_at)
                order by array_position(array['plan', 'bonus', 'purchased'], a.pool),
                    a.expires_at nulls last, a.id
            loop
                exit when rest = 0;
                moved := least(rest, account.balance);
                perform ledger_move(p_customer[i], posting, account.id, -moved);
                rest := rest - moved;
            end loop;
            spendable := spendable + p_amount[i];
        elsif p_type[i] = 'hold' then
            perform ledger_move(p_customer[i], posting,
                ledger_account(p_at, p_customer[i], p_unit[i], 'purchased', '', null), -rest);
            spendable := spendable - rest;
        elsif p_amount[i] > 0 then
            if p_type[i] in ('purchase', 'refund', 'release') then
                for account in
                    select a.id, a.balance from ledger_accounts a
                    where a.customer_id = p_customer[i] and a.unit = p_unit[i]
                        and a.pool = 'debt' and a.balance < 0
                    order by a.id
                loop
                    exit when rest = 0;
                    moved := least(rest, -account.balance);
                    perform ledger_move(p_customer[i], posting, account.id, moved);
                    rest := rest - moved;
                end loop;
            end if;
            if rest > 0 then
                perform ledger_move(p_customer[i], posting,
                    ledger_account(p_at, p_customer[i], p_unit[i], p_pool[i],
                        case p_type[i] when 'release' then '' else p_source[i] end,
                        p_expires[i]), rest);
            end if;
            spendable := spendable + case
                when p_expires[i] is null or p_expires[i] > p_at then rest else 0 end;
        else
            select a.id, a.balance, a.expires_at into account from ledger_accounts a
            where a.customer_id = p_customer[i] and a.unit = p_unit[i]
                and a.pool = p_pool[i] and a.source = p_source[i];
            if found and account.balance > 0 then
                moved := least(rest, account.balance);
                perform ledger_move(p_customer[i], posting, account.id, -moved);
                rest := rest - moved;
                if account.expires_at is null or account.expires_at > p_at then
                    spendable := spendable - moved;
                end if;
            end if;
            if rest > 0 then
                perform ledger_move(p_customer[i], posting,
                    ledger_account(p_at, p_customer[i], p_unit[i], 'debt',
                        p_cause_kind[i] || ':' || p_cause_id[i], null), -rest);
            end if;
        end if;
        if p_type[i] not in ('hold', 'release') then
            house := ledger_account(p_at, 0, p_unit[i], 'house', p_type[i], null);
            insert into ledger_entries (customer_id, posting_id, account_id, amount)
            values (p_customer[i], posting, house, -p_amount[i]);
        end if;
        insert into ledger_postings
            (customer_id, id, unit, type, amount, balance_after, payment_id, description,
            created_at)
        values (p_customer[i], posting, p_unit[i], p_type[i], p_amount[i], spendable,
            p_payment[i], p_description[i], p_at);
        insert into ledger_causes
            (kind, cause_id, purpose, customer_id, posting_id, request_hash, balance_after)
        values (p_cause_kind[i], p_cause_id[i], p_purpose[i], p_customer[i], posting, p_hash[i],
            spendable);
        posting_id := posting;
        balance := spendable;
        outcome := 'posted';
        return next;
    end loop;
end $$;

-- The id of a ledger account, made when it is first needed. Callers hold the customer's lock; the
-- house's accounts are shared, so two makers may meet there and one of them waits.
create or replace function ledger_account(
    p_at timestamptz, p_customer bigint, p_unit text, p_pool text, p_source text,
    p_expires timestamptz
) returns bigint language plpgsql volatile as $$
declare
    found_id bigint;
begin
    select a.id into found_id from ledger_accounts a
    where a.customer_id = p_customer and a.unit = p_unit and a.pool = p_pool
        and a.source = p_source;
    if found_id is null then
        insert into ledger_accounts
            (customer_id, unit, pool, source, expires_at, balance, created_at)
        values (p_customer, p_unit, p_pool, p_source, p_expires,
            case when p_pool = 'house' then null else 0 end, p_at)
        on conflict (customer_id, unit, pool, source) do nothing
        returning id into found_id;
    end if;
    if found_id is null then
        select a.id into strict found_id from ledger_accounts a
        where a.customer_id = p_customer and a.unit = p_unit and a.pool = p_pool
            and a.source = p_source;
    end if;
    return found_id;
end $$;

-- One leg on a customer's account: the balance and the entry that explains it, never one alone.
create or replace function ledger_move(
    p_customer bigint, p_posting bigint, p_account bigint, p_amount bigint
) returns void language sql volatile as $$
    with moved as (
        update ledger_accounts set balance = balance + p_amount where id = p_account
        returning balance
    )
    insert into ledger_entries (customer_id, posting_id, account_id, amount, balance_after)
    select p_customer, p_posting, p_account, p_amount, balance from moved;
$$;
