-- The roles, once for the whole server whatever the number of its databases: another database's
-- `migrate --roles` may make the same one in the same moment.
do $$
declare
    wanted record;
begin
    for wanted in
        select * from (values ('bursar_owner', 'nologin'), ('bursar_server', 'login'),
            ('bursar_worker', 'login'), ('bursar_reader', 'login'),
            ('bursar_customer', 'nologin'), ('bursar_gateway', 'nologin')) w (name, login)
    loop
        if not exists (select from pg_roles r where r.rolname = wanted.name) then
            begin
                execute format('create role %I %s', wanted.name, wanted.login);
            exception when duplicate_object or unique_violation then
                null;
            end;
        end if;
    end loop;

    -- Such a role would see every row, whatever the policies say.
    for wanted in
        select r.rolname as name from pg_roles r
        where (r.rolsuper or r.rolbypassrls) and r.rolname in ('bursar_owner', 'bursar_server',
            'bursar_worker', 'bursar_reader', 'bursar_customer', 'bursar_gateway')
    loop
        raise exception 'the role % is a superuser or bypasses row-level security', wanted.name
            using errcode = '55000', hint = format('Run: alter role %I nosuperuser nobypassrls',
                wanted.name);
    end loop;

    -- Who hands objects over must be a member of the role that takes them.
    if not pg_has_role(current_user, 'bursar_owner', 'usage') then
        execute format('grant bursar_owner to %I', current_user);
    end if;
end $$;

-- A stranger who may create things in the schema could slip a function of his under a name that
-- ours call.
do $$ begin
    if exists (
        select from pg_namespace n, aclexplode(n.nspacl) a
        where n.nspname = 'public' and a.grantee = 0 and a.privilege_type = 'CREATE')
    then
        revoke create on schema public from public;
    end if;
end $$;
grant usage, create on schema public to bursar_owner;
grant usage on schema public to bursar_server, bursar_worker, bursar_reader, bursar_customer,
    bursar_gateway;
