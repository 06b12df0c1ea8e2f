-- What rules about rows, and functions that other apps call, know of the moment and of the caller.

-- The business time: the machine's, and in a sandbox what its clock runs ahead. One time for a
-- whole transaction. Everybody may ask.
create or replace function business_now() returns timestamptz
language sql stable security definer set search_path = public, pg_temp as $$
    select now() + make_interval(secs => coalesce((select ahead_seconds from business_clock), 0))
$$;
revoke execute on function business_now from public;

-- The user whom a gateway vouches for (PostgREST sets the claims of the token that it checked). On
-- any other connection everybody can set them, so only policies of the role bursar_gateway ask.
create or replace function gateway_user() returns text language sql stable as $$
    select nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub'
$$;
revoke execute on function gateway_user from public;
