-- Closes holds: what was used of each is settled, in the order of its legs, and the rest returns to
-- them. Takes arrays as ledger_post does and answers a row for each:
--
--   outcome   posted    it was closed now
--             repeated  this cause had closed it before, or it was given back before and is to be
--                       given back: `balance` is the one that stood after it then
--             reused    its cause belongs to a posting of another request: nothing was made
--             refused   more than the hold reserves: nothing was made
--             closed    it is closed already, in another way: nothing was made
--             unknown   the customer has no hold of this id: nothing was made
--
-- p_captured is what was used, 0 to give everything back; p_state what a hold without use becomes
-- (`released`, or `lapsed` when its time is up). `posting_id` is the use that was booked, or the
-- release. A hold ends in up to three postings, so that the movements add up to the balance:
-- `release` of everything, `usage` of what was captured, `expiry` of what returned to an account
-- that has ended. What was bought and returns pays debt first.
--
-- Locks first, in customer order; then reads; then writes, as in ledger_post.
create or replace function ledger_close_holds(
    p_at timestamptz,
    p_customer bigint[],
    p_hold bigint[],
    p_captured bigint[],
    p_state text[],
    p_cause_kind text[],
    p_cause_id text[],
    p_purpose text[],
    p_hash bytea[],
    p_description text[]
) returns table (
    ordinal integer, outcome text, posting_id bigint, balance bigint, captured bigint,
    returned bigint
)
language plpgsql volatile security definer set search_path = public, pg_temp as $$
declare
    i integer;
    k integer;
    hold holds%rowtype;
    leg record;
    released bigint;
    used bigint;
    to_settle bigint;
    settled bigint;
    part bigint;
    legs bigint[];
    takes bigint[];
    ended_ids bigint[];
    ended_parts bigint[];
    from_ended bigint;
    hold_cause text;
    moment timestamptz;
begin
    perform 1 from customers c where c.id = any (p_customer) order by c.id for no key update;

    for i in 1 .. coalesce(array_length(p_customer, 1), 0) loop
        ordinal := i;
        captured := null;
        returned := null;
        select f.outcome, f.posting_id, f.balance into outcome, posting_id, balance
        from ledger_find(p_customer[i], p_cause_kind[i], p_cause_id[i], p_purpose[i], p_hash[i]) f;
        if found then
            select h.captured, h.amount - h.captured into captured, returned from holds h
            where h.customer_id = p_customer[i] and h.id = p_hold[i];
            return next;
            continue;
        end if;

        posting_id := null;
        balance := null;
        select * into hold from holds h where h.customer_id = p_customer[i] and h.id = p_hold[i];
        if not found or hold.state <> 'held' or p_captured[i] > hold.amount then
            outcome := case when hold.id is null then 'unknown'
                when hold.state <> 'held' then 'closed' else 'refused' end;
            returned := hold.amount;
            return next;
            continue;
        end if;

        hold_cause := p_customer[i] || ':' || p_hold[i];
        released := nextval('ledger_postings_id_seq');
        moment := ledger_moment(p_at, p_customer[i]);
        balance := ledger_spendable(moment, p_customer[i], hold.unit);
        perform ledger_move(p_customer[i], released,
            ledger_account(moment, p_customer[i], hold.unit, 'held', '', null), -hold.amount);
        to_settle := p_captured[i];
        from_ended := 0;
        legs := '{}';
        takes := '{}';
        ended_ids := '{}';
        ended_parts := '{}';
        for leg in
            select a.id, a.pool, a.expires_at, -e.amount as reserved from ledger_entries e
            join ledger_accounts a on a.id = e.account_id
            where e.customer_id = p_customer[i] and e.posting_id = p_hold[i]
                and a.pool in ('plan', 'bonus', 'purchased')
            order by e.id
        loop
            settled := least(to_settle, leg.reserved);
            to_settle := to_settle - settled;
            part := leg.reserved - settled;
            if leg.pool = 'purchased' then
                part := ledger_pay_debt(p_customer[i], released, hold.unit, part, p_hold[i]);
            end if;
            if settled + part > 0 then
                perform ledger_move(p_customer[i], released, leg.id, settled + part);
            end if;
            if settled > 0 then
                legs := legs || leg.id;
                takes := takes || settled;
            end if;
            if leg.expires_at <= moment then
                from_ended := from_ended + settled;
                if part > 0 then
                    ended_ids := ended_ids || leg.id;
                    ended_parts := ended_parts || part;
                end if;
            else
                balance := balance + settled + part;
            end if;
        end loop;
        perform ledger_book(moment, p_customer[i], released, hold.unit, 'release', hold.amount,
            balance, null, null, p_hold[i], null, 'hold', hold_cause, 'release', null);
        posting_id := released;

        if p_captured[i] > 0 then
            used := nextval('ledger_postings_id_seq');
            for k in 1 .. array_length(legs, 1) loop
                perform ledger_move(p_customer[i], used, legs[k], -takes[k]);
            end loop;
            balance := balance - (p_captured[i] - from_ended);
            perform ledger_book(moment, p_customer[i], used, hold.unit, 'usage', -p_captured[i],
                balance, null, null, p_hold[i], p_description[i], p_cause_kind[i], p_cause_id[i],
                p_purpose[i], p_hash[i]);
            posting_id := used;
        end if;
        perform ledger_end(moment, p_customer[i], hold.unit, ended_ids, ended_parts, balance,
            p_hold[i], 'hold', hold_cause, 'expiry', null);
        update holds h set captured = p_captured[i], closed_at = moment,
            state = case when p_captured[i] > 0 then 'settled' else p_state[i] end
        where h.customer_id = p_customer[i] and h.id = p_hold[i];
        captured := p_captured[i];
        returned := hold.amount - p_captured[i];
        outcome := 'posted';
        return next;
    end loop;
end $$;
revoke execute on function ledger_close_holds from public;
