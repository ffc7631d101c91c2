-- Makes what Countersign needs on a PostgreSQL of your own: two roles and a database. Run it with psql, as a role that
-- may make roles and databases:
--
--     psql -v owner_password=... -v application_password=... -f docs/postgresql-roles.sql "$ADMIN_URL"
--
-- Run again, it sets the passwords and changes nothing else. For other names: -v database=..., -v owner=...,
-- -v application=...
-- The owner makes and changes the tables (DATABASE_OWNER_URL); the application works with them and cannot alter the
-- ledger (DATABASE_URL). What it may do with each table is granted by every start of the product.

\set ON_ERROR_STOP on
SET client_min_messages = warning;
\if :{?database}
\else
  \set database countersign
\endif
\if :{?owner}
\else
  \set owner countersign_owner
\endif
\if :{?application}
\else
  \set application countersign
\endif
\if :{?owner_password}
\else
  DO $$ BEGIN RAISE 'Give the password of the owner: -v owner_password=...'; END $$;
\endif
\if :{?application_password}
\else
  DO $$ BEGIN RAISE 'Give the password of the application: -v application_password=...'; END $$;
\endif

SELECT format('CREATE ROLE %I', name) FROM (VALUES (:'owner'), (:'application')) AS wanted (name)
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE :"owner" LOGIN PASSWORD :'owner_password';
ALTER ROLE :"application" LOGIN PASSWORD :'application_password';

-- Whoever is no superuser, as on managed servers, gives a database only to a role that they belong to.
SELECT format('GRANT %I TO CURRENT_USER', :'owner')
 WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) \gexec
SELECT format('CREATE DATABASE %I OWNER %I ENCODING ''UTF8'' TEMPLATE template0', :'database', :'owner')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec

-- To see which session keeps a transaction open. Only a superuser may grant it.
SELECT format('GRANT pg_read_all_stats TO %I', :'application')
 WHERE (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) \gexec
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"database" TO :"application";

-- Errors are logged without the statement and the row, which may hold mail. Only a superuser may set this.
SELECT format('ALTER DATABASE %I SET %s', :'database', setting)
  FROM (VALUES ('log_min_error_statement = panic'), ('log_error_verbosity = terse')) AS quiet (setting)
 WHERE (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) \gexec
