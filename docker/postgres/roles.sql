-- The roles, the settings that the service's promises rest on, and the database. Once for each cluster, as a
-- superuser, with psql 15 or newer, the passwords in the environment, where no list of processes shows them:
--   OWNER_PASSWORD=… SERVICE_PASSWORD=… WORKER_PASSWORD=… psql -v database=orchestrator -f roles.sql
-- Grants on tables come with the migrations, which the owner makes. Again does no harm, and sets the passwords anew.
-- docs/database.md says what each is for; orchestrator/roles.py is the same for `make run`, and a test compares.
\set ON_ERROR_STOP on
\getenv owner_password OWNER_PASSWORD
\getenv service_password SERVICE_PASSWORD
\getenv worker_password WORKER_PASSWORD

SELECT 'CREATE ROLE orchestrator_owner LOGIN'
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'orchestrator_owner') \gexec
SELECT 'CREATE ROLE orchestrator_service LOGIN'
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'orchestrator_service') \gexec
SELECT 'CREATE ROLE orchestrator_worker LOGIN'
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'orchestrator_worker') \gexec
ALTER ROLE orchestrator_owner PASSWORD :'owner_password';
ALTER ROLE orchestrator_service PASSWORD :'service_password';
ALTER ROLE orchestrator_worker PASSWORD :'worker_password';
-- What the service may, and more: migrations give it the right to write seals, and take that from the service.
GRANT orchestrator_service TO orchestrator_worker;

-- A migration that waits for a lock gives up, rather than keep every writer waiting behind it.
ALTER ROLE orchestrator_owner SET lock_timeout = '2s';
ALTER ROLE orchestrator_service SET statement_timeout = '10s';
ALTER ROLE orchestrator_service SET lock_timeout = '3s';
ALTER ROLE orchestrator_service SET idle_in_transaction_session_timeout = '15s';
ALTER ROLE orchestrator_service SET client_connection_check_interval = '1s';
ALTER ROLE orchestrator_service SET jit = 'off';
ALTER ROLE orchestrator_worker SET statement_timeout = '10s';
ALTER ROLE orchestrator_worker SET lock_timeout = '3s';
ALTER ROLE orchestrator_worker SET idle_in_transaction_session_timeout = '15s';
ALTER ROLE orchestrator_worker SET client_connection_check_interval = '1s';
ALTER ROLE orchestrator_worker SET jit = 'off';

SELECT format('CREATE DATABASE %I OWNER orchestrator_owner', :'database')
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO orchestrator_service;
