-- Moves the ends of dated accounts: later for a grace, sooner for what is closed before its time.
-- Takes arrays as ledger_post does and answers a row for each: `ends_at` is the end that counts
-- from now on, null when the customer has no such account or it never ends. An end that has come
-- does not move, so that what is ended at read stays ended; and none moves into the past, so that
-- what was true of an hour ago stays true of it.
--
-- Locks first, in customer order; then writes. No balance moves.
create or replace function ledger_move_end(
    p_at timestamptz,
    p_customer bigint[],
    p_unit text[],
    p_pool text[],
    p_source text[],
    p_ends timestamptz[]
) returns table (ordinal integer, ends_at timestamptz)
language plpgsql volatile security definer set search_path = public, pg_temp as $$
declare
    i integer;
begin
    perform 1 from customers c where c.id = any (p_customer) order by c.id for no key update;

    for i in 1 .. coalesce(array_length(p_customer, 1), 0) loop
        ordinal := i;
        update ledger_accounts a set expires_at = greatest(p_ends[i], p_at)
        where a.customer_id = p_customer[i] and a.unit = p_unit[i] and a.pool = p_pool[i]
            and a.source = p_source[i] and a.expires_at > p_at;
        select a.expires_at into ends_at from ledger_accounts a
        where a.customer_id = p_customer[i] and a.unit = p_unit[i] and a.pool = p_pool[i]
            and a.source = p_source[i];
        return next;
    end loop;
end $$;
revoke execute on function ledger_move_end from public;
