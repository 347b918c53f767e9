#!/bin/sh
# Run by the image of PostgreSQL when it makes its data: the roles, with the passwords of the secrets.
set -eu
psql --no-psqlrc --username "$POSTGRES_USER" --dbname postgres \
  --set owner_password="$(cat /run/secrets/owner_password)" \
  --set service_password="$(cat /run/secrets/service_password)" \
  --set database=orchestrator --file /etc/orchestrator/roles.sql
