-- Takes credits of a user, all of them or nothing, in the order of use (plan, bonus, purchased;
-- what ends first goes first). Returns false when there are not enough; every call counts. The
-- counterpart of add_credits, with the steps that stand there.
create or replace function use_credits(
    p_user_id text, p_amount bigint, p_description text default null
) returns boolean
language plpgsql volatile security definer set search_path = public, pg_temp as $$
declare
    chosen text;
    customer bigint;
    said text;
begin
    perform credits_check_user(p_user_id), credits_check_amount(p_amount),
        credits_check_isolation();
    if length(p_description) > 500 or p_description ~ '[[:cntrl:]]' then
        raise exception 'p_description is too long or not printable' using errcode = '22023',
            hint = 'Pass at most 500 printable characters, or null.';
    end if;
    chosen := credits_default_unit();
    select c.id into customer from customers c where c.user_id = p_user_id;
    if customer is null then
        -- Nobody has given this user anything, and a refusal is no reason to make one.
        return false;
    end if;
    select outcome into strict said from ledger_post(
        business_now(), false, array[customer], array[chosen], array['usage'], array[-p_amount],
        array['purchased'], array[''], array[null::timestamptz], array['use_credits'],
        array[gen_random_uuid()::text], array['use'], array[null::bytea], array[null::bigint],
        array[p_description]);
    return said = 'posted';
end $$;

revoke execute on function use_credits(text, bigint, text) from public;
