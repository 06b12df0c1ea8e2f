-- For apps that add and use credits by SQL: the names and meanings of the Supabase guides. They
-- count in the unit that is meant when none is named (catalog.get_unit), and move credits as
-- everything does: through ledger_post. Bad input is an exception 22023 with a hint.

-- Raises unless a user id is one that the API takes.
create or replace function credits_check_user(p_user_id text) returns void
language plpgsql immutable as $$
begin
    if p_user_id is null or length(p_user_id) not between 1 and 128
        or p_user_id ~ ('[[:cntrl:]' || E'\\u00a0\\u00ad\\u1680\\u2000-\\u200f\\u2028-\\u202f'
            || E'\\u205f-\\u206f\\u3000\\ue000-\\uf8ff\\ufeff]')
    then
        raise exception 'p_user_id is not a user id' using errcode = '22023',
            hint = 'Pass 1 to 128 printable characters; a uuid as text: id::text.';
    end if;
end $$;

-- Raises unless an amount is one that a single movement may have.
create or replace function credits_check_amount(p_amount bigint) returns void
language plpgsql immutable as $$
begin
    if p_amount is null or p_amount not between 1 and 1000000000000 then
        raise exception 'p_amount is not between 1 and 1000000000000' using errcode = '22023',
            hint = 'Pass a whole number of the unit''s smallest part, above zero; '
                || 'to take credits call use_credits.';
    end if;
end $$;

-- Raises unless each statement sees what is committed: what is read after the customer's lock must
-- be the truth, and an older snapshot is not.
create or replace function credits_check_isolation() returns void language plpgsql stable as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'credits move in READ COMMITTED transactions only' using errcode = '25001',
            hint = 'Begin the transaction with: begin isolation level read committed.';
    end if;
end $$;

-- The unit that is meant when none is named: the first that has a rate, else the first.
create or replace function credits_default_unit() returns text language plpgsql stable as $$
declare
    chosen text;
begin
    select u.unit into chosen from catalog_units u order by u.per_minor = '{}', u.unit limit 1;
    if chosen is null then
        raise exception 'the catalogue has no unit yet' using errcode = '55000',
            hint = 'Run `bursar catalog push`.';
    end if;
    return chosen;
end $$;

-- The personal customer of a user, who is made on first sight as customers.MAKE_USER does.
create or replace function credits_customer(p_at timestamptz, p_user_id text) returns bigint
language plpgsql volatile as $$
declare
    found_id bigint;
begin
    select c.id into found_id from customers c where c.user_id = p_user_id;
    if found_id is null then
        with made as (
            insert into users (id, created_at, updated_at) values (p_user_id, p_at, p_at)
            on conflict (id) do nothing returning id
        ), customer as (
            insert into customers (kind, user_id, created_at)
            select 'personal', id, p_at from made returning id
        )
        insert into members (customer_id, user_id, role, created_at)
        select id, p_user_id, 'owner', p_at from customer;
        select c.id into strict found_id from customers c where c.user_id = p_user_id;
    end if;
    return found_id;
end $$;

-- Adds credits to a user; returns what the user can spend now.
--
--   purchase, adjustment   into the purchased credits, which pays debt first. Both are booked as
--                          `adjustment`: a posting `purchase` says that Bursar saw the money, and
--                          here only the caller did.
--   refund                 likewise, booked as `refund`
--   bonus                  into the bonus
--   subscription           into the plan's credits, without an end
--
-- p_stripe_payment_id is the cause: one payment adds once for each type, to one user and with one
-- amount, however often and by however many it is told. A payment that Bursar knows as its own
-- brings its credits by Bursar's webhook, now or later, and adds no purchase here. Without an id
-- every call counts.
create or replace function add_credits(
    p_user_id text, p_amount bigint, p_type text, p_stripe_payment_id text default null
) returns bigint
language plpgsql volatile security definer set search_path = public, pg_temp as $$
declare
    moment timestamptz := business_now();
    chosen text;
    customer bigint;
    said text;
begin
    perform credits_check_user(p_user_id), credits_check_amount(p_amount),
        credits_check_isolation();
    if p_type is null
        or p_type not in ('purchase', 'bonus', 'subscription', 'refund', 'adjustment')
    then
        raise exception 'p_type % is unknown', coalesce(quote_literal(p_type), 'null')
            using errcode = '22023',
            hint = 'Pass purchase, bonus, subscription, refund or adjustment.';
    end if;
    if length(p_stripe_payment_id) not between 1 and 255 or p_stripe_payment_id ~ '[[:cntrl:]]' then
        raise exception 'p_stripe_payment_id is not an id' using errcode = '22023',
            hint = 'Pass the payment''s id at the provider (1 to 255 characters), or null.';
    end if;
    chosen := credits_default_unit();
    customer := credits_customer(moment, p_user_id);
    -- Whoever grants this payment has the customer's lock while doing so: what is read after it is
    -- the truth, and a payment of ours that is on its way counts as ours.
    perform 1 from customers c where c.id = customer for no key update;

    if p_type <> 'purchase' or p_stripe_payment_id is null or not exists (
        select from provider_refs r
        where r.provider = 'stripe' and r.kind in ('session', 'intent', 'charge', 'invoice')
            and r.ref = p_stripe_payment_id and r.target_id is not null)
    then
        select outcome into strict said from ledger_post(
            moment, false, array[customer], array[chosen],
            array[case p_type when 'purchase' then 'adjustment' else p_type end],
            array[p_amount],
            array[case p_type when 'bonus' then 'bonus' when 'subscription' then 'plan'
                else 'purchased' end],
            array[''], array[null::timestamptz],
            array['add_credits'], array[coalesce(p_stripe_payment_id, gen_random_uuid()::text)],
            array[p_type], array[sha256(convert_to(p_amount || ':' || p_user_id, 'UTF8'))],
            array[null::bigint], array[p_type || coalesce(' ' || p_stripe_payment_id, '')]);
    end if;
    if said = 'reused' then
        raise exception 'payment % added credits before, to another user or with another amount',
            p_stripe_payment_id using errcode = '22023',
            hint = 'Pass the id of the payment that these credits are for, or null.';
    end if;
    return ledger_spendable(moment, customer, chosen);
end $$;

revoke execute on function credits_check_user, credits_check_amount, credits_check_isolation,
    credits_default_unit,
    credits_customer, add_credits(text, bigint, text, text) from public;
