-- The steps that every posting is made of. Called by the functions beside this file, under the
-- customer's lock; nobody else may call them.

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
) returns void language plpgsql volatile as $$
begin
    with moved as (
        update ledger_accounts set balance = balance + p_amount where id = p_account
        returning balance
    )
    insert into ledger_entries (customer_id, posting_id, account_id, amount, balance_after)
    select p_customer, p_posting, p_account, p_amount, balance from moved;
end $$;

-- Pays what the customer owes in the unit with up to p_amount, the oldest debt first; returns what
-- is left. For credits that come back, p_since is the posting that took them: had it not, the
-- refunds after it would have taken them, forgiven ones too, so they go there first.
drop function if exists ledger_pay_debt(bigint, bigint, text, bigint);
create or replace function ledger_pay_debt(
    p_customer bigint, p_posting bigint, p_unit text, p_amount bigint, p_since bigint
) returns bigint language plpgsql volatile as $$
declare
    debt record;
    rest bigint := p_amount;
    paid bigint;
begin
    for debt in
        select a.id, a.balance from ledger_accounts a
        cross join lateral (
            select coalesce(p_since < min(e.posting_id), false) as later
            from ledger_entries e where e.account_id = a.id
        ) made
        where a.customer_id = p_customer and a.unit = p_unit and a.balance < 0
            and (a.pool = 'debt' or a.pool = 'forgiven' and made.later)
        order by made.later desc, a.id
    loop
        exit when rest = 0;
        paid := least(rest, -debt.balance);
        perform ledger_move(p_customer, p_posting, debt.id, paid);
        rest := rest - paid;
    end loop;
    return rest;
end $$;

-- The time of what comes back: never before the customer's last posting, whoever waited for the
-- lock in between, so that nothing returns to an account after its end was written down.
create or replace function ledger_moment(p_at timestamptz, p_customer bigint) returns timestamptz
language plpgsql stable as $$
begin
    return greatest(p_at, (select p.created_at from ledger_postings p
        where p.customer_id = p_customer order by p.id desc limit 1));
end $$;

-- Credits that can be spent at p_at: nothing held, nothing expired.
create or replace function ledger_spendable(
    p_at timestamptz, p_customer bigint, p_unit text
) returns bigint language plpgsql stable as $$
begin
    return (
        select coalesce(sum(a.balance), 0) from ledger_accounts a
        where a.customer_id = p_customer and a.unit = p_unit
            and a.pool in ('plan', 'bonus', 'purchased')
            and (a.expires_at is null or a.expires_at > p_at));
end $$;

-- What an earlier posting under this cause means for a request: `repeated`, or `reused` when it was
-- another request's; no row when the cause is new.
create or replace function ledger_find(
    p_customer bigint, p_cause_kind text, p_cause_id text, p_purpose text, p_hash bytea
) returns table (outcome text, posting_id bigint, balance bigint) language plpgsql stable as $$
begin
    return query
        select case when c.customer_id = p_customer and c.request_hash is not distinct from p_hash
            then 'repeated' else 'reused' end, c.posting_id, c.balance_after
        from ledger_causes c
        where c.kind = p_cause_kind and c.cause_id = p_cause_id and c.purpose = p_purpose;
end $$;

drop function if exists ledger_book(timestamptz, bigint, bigint, text, text, bigint, bigint, bigint,
    text, text, text, text, bytea);
-- Closes a posting whose legs on the customer's accounts are made: the house's leg (none for what
-- only moves between a customer's own accounts), the posting itself and its cause.
create or replace function ledger_book(
    p_at timestamptz, p_customer bigint, p_posting bigint, p_unit text, p_type text,
    p_amount bigint, p_balance bigint, p_payment bigint, p_reverses bigint, p_hold bigint,
    p_description text, p_cause_kind text, p_cause_id text, p_purpose text, p_hash bytea
) returns void language plpgsql volatile as $$
begin
    with house as (
        insert into ledger_entries (customer_id, posting_id, account_id, amount)
        select p_customer, p_posting, ledger_account(p_at, 0, p_unit, 'house', p_type, null),
            -p_amount
        where p_type not in ('hold', 'release')
    ), posting as (
        insert into ledger_postings (customer_id, id, unit, type, amount, balance_after,
            payment_id, reverses, hold_id, description, created_at)
        values (p_customer, p_posting, p_unit, p_type, p_amount, p_balance, p_payment, p_reverses,
            p_hold, p_description, p_at)
    )
    insert into ledger_causes
        (kind, cause_id, purpose, customer_id, posting_id, request_hash, balance_after)
    values (p_cause_kind, p_cause_id, p_purpose, p_customer, p_posting, p_hash, p_balance);
end $$;

revoke execute on function ledger_account, ledger_move, ledger_pay_debt, ledger_moment,
    ledger_spendable, ledger_find, ledger_book from public;
