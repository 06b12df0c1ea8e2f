-- Uses, many at once: what ledger_post does with a batch of nothing but uses, in one statement that
-- reads and one that writes, as what a statement costs to begin is most of what a single use costs.
-- In between the balances live in variables, so that each use stands on the one before it.
--
-- Called by ledger_post under the customers' locks, with causes that are all different and amounts
-- below zero; nobody else may call it. Outcomes are those of ledger_post, in no order.
--
-- Plans are made once and never by how full the tables were then: one made for small tables would
-- read them whole when they have grown.
create or replace function ledger_post_uses(
    p_at timestamptz,
    p_refuse_owing boolean,
    p_customer bigint[],
    p_unit text[],
    p_amount bigint[],
    p_cause_kind text[],
    p_cause_id text[],
    p_purpose text[],
    p_hash bytea[],
    p_payment bigint[],
    p_description text[]
) returns table (ordinal integer, outcome text, posting_id bigint, balance bigint)
language plpgsql volatile set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    asked record;
    rest bigint;
    moved bigint;
    house bigint;
    house_unit text;
    -- Of the customer and unit at hand: what can be spent, in the order of use, and in all.
    accounts bigint[];
    balances bigint[];
    spendable bigint;
    owes boolean;
    k integer;
    -- Of each use that is posted, in its place: its id and the balance after it.
    ids bigint[] := array_fill(null::bigint, array[cardinality(p_customer)]);
    afters bigint[] := ids;
    -- The entries to write; the house's have no balance after them.
    leg_customers bigint[];
    leg_postings bigint[];
    leg_accounts bigint[];
    leg_amounts bigint[];
    leg_afters bigint[];
begin
    for asked in
        select t.n, t.customer, t.unit, t.amount, t.hash, t.begins, a.accounts, a.balances,
            a.spendable,
            p_refuse_owing and t.begins and exists (select from ledger_accounts d
                where d.customer_id = t.customer and d.unit = t.unit and d.pool = 'debt'
                    and d.balance < 0) as owes,
            (select c from ledger_causes c where c.kind = t.kind and c.cause_id = t.cause
                and c.purpose = t.purpose) as made
        from (
            select u.*,
                row_number() over (partition by u.customer, u.unit order by u.n) = 1 as begins
            from unnest(p_customer, p_unit, p_amount, p_cause_kind, p_cause_id, p_purpose, p_hash)
                with ordinality as u (customer, unit, amount, kind, cause, purpose, hash, n)
        ) t
        cross join lateral (
            select array_agg(b.id order by b.rank, b.expires_at nulls last, b.id) as accounts,
                array_agg(b.balance order by b.rank, b.expires_at nulls last, b.id) as balances,
                coalesce(sum(b.balance), 0) as spendable
            from (
                select s.id, s.balance, s.expires_at,
                    case s.pool when 'plan' then 0 when 'bonus' then 1 else 2 end as rank
                from ledger_accounts s
                where t.begins and s.customer_id = t.customer and s.unit = t.unit
                    and s.pool in ('plan', 'bonus', 'purchased') and s.balance > 0
                    and (s.expires_at is null or s.expires_at > p_at)
            ) b
        ) a
        order by t.customer, t.unit, t.n
    loop
        if asked.begins then
            accounts := asked.accounts;
            balances := asked.balances;
            spendable := asked.spendable;
            owes := asked.owes;
            k := 1;
        end if;
        ordinal := asked.n;
        if (asked.made).posting_id is not null then
            outcome := case when (asked.made).customer_id = asked.customer
                and (asked.made).request_hash is not distinct from asked.hash
                then 'repeated' else 'reused' end;
            posting_id := (asked.made).posting_id;
            balance := (asked.made).balance_after;
            return next;
            continue;
        end if;
        if owes or spendable + asked.amount < 0 then
            outcome := case when spendable + asked.amount < 0 then 'refused' else 'owing' end;
            posting_id := null;
            balance := spendable;
            return next;
            continue;
        end if;

        outcome := 'posted';
        posting_id := nextval('ledger_postings_id_seq');
        rest := -asked.amount;
        while rest > 0 loop
            moved := least(rest, balances[k]);
            balances[k] := balances[k] - moved;
            leg_customers := leg_customers || asked.customer;
            leg_postings := leg_postings || posting_id;
            leg_accounts := leg_accounts || accounts[k];
            leg_amounts := leg_amounts || -moved;
            leg_afters := leg_afters || balances[k];
            rest := rest - moved;
            if balances[k] = 0 then
                k := k + 1;
            end if;
        end loop;
        if asked.unit is distinct from house_unit then
            house := ledger_account(p_at, 0, asked.unit, 'house', 'usage', null);
            house_unit := asked.unit;
        end if;
        leg_customers := leg_customers || asked.customer;
        leg_postings := leg_postings || posting_id;
        leg_accounts := leg_accounts || house;
        leg_amounts := leg_amounts || -asked.amount;
        leg_afters := leg_afters || null::bigint;
        spendable := spendable + asked.amount;
        balance := spendable;
        ids[ordinal] := posting_id;
        afters[ordinal] := balance;
        return next;
    end loop;

    with legs as (
        select * from unnest(leg_customers, leg_postings, leg_accounts, leg_amounts, leg_afters)
            with ordinality as l (customer, posting, account, amount, after, n)
    ), accounts as (
        -- Uses only take, so the least is the last.
        update ledger_accounts a set balance = l.after
        from (select account, min(after) as after from legs where after is not null
            group by account) l
        where a.id = l.account
    ), entries as (
        insert into ledger_entries (customer_id, posting_id, account_id, amount, balance_after)
        select customer, posting, account, amount, after from legs order by n
    ), uses as (
        select * from unnest(p_customer, ids, p_unit, p_amount, afters, p_payment, p_description,
            p_cause_kind, p_cause_id, p_purpose, p_hash)
            as u (customer, id, unit, amount, after, payment, description, kind, cause, purpose,
                hash)
        where u.id is not null
    ), postings as (
        insert into ledger_postings (customer_id, id, unit, type, amount, balance_after,
            payment_id, description, created_at)
        select customer, id, unit, 'usage', amount, after, payment, description, p_at from uses
    )
    insert into ledger_causes
        (kind, cause_id, purpose, customer_id, posting_id, request_hash, balance_after)
    select kind, cause, purpose, customer, id, hash, after from uses;
end $$;
revoke execute on function ledger_post_uses from public;
