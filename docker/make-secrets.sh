#!/bin/sh
# Makes what compose.yml needs of secrets, in docker/secrets, each of them once: what is there stays.
set -eu
umask 077
folder="$(dirname "$0")/secrets"
mkdir -p "$folder"
# Whoever may not enter the folder reads none of them, whoever made it, and however.
chmod 700 "$folder"
make() { [ -s "$folder/$1" ] || printf '%s' "$2" >"$folder/$1"; }
random() { od -An -N 32 -tx1 /dev/urandom | tr -d ' \n'; }
known() { cat "$folder/$1"; }

for name in secret_key metrics_token superuser_password owner_password service_password worker_password redis_password; do
  make "$name" "$(random)"
done
make database_url "postgresql://orchestrator_service:$(known service_password)@postgres/orchestrator"
make worker_database_url "postgresql://orchestrator_worker:$(known worker_password)@postgres/orchestrator"
make database_owner_url "postgresql://orchestrator_owner:$(known owner_password)@postgres/orchestrator"
make redis_url "redis://:$(known redis_password)@redis:6379/0"
# The development realm's; in production, the provider's.
make oidc_client_secret goose-controller-dev-secret
# The containers' users read them, those that the operator put there too.
for file in "$folder"/*; do
  chmod 444 "$file"
done
echo "$folder has all secrets."
