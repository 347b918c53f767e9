#!/bin/sh
# Run by the image of PostgreSQL when it makes its data: the roles, with the passwords of the secrets.
set -eu
OWNER_PASSWORD="$(cat /run/secrets/owner_password)"
SERVICE_PASSWORD="$(cat /run/secrets/service_password)"
WORKER_PASSWORD="$(cat /run/secrets/worker_password)"
export OWNER_PASSWORD SERVICE_PASSWORD WORKER_PASSWORD
psql --no-psqlrc --username "$POSTGRES_USER" --dbname postgres --set database=orchestrator \
  --file /etc/orchestrator/roles.sql
