#!/bin/sh
# Makes what compose.yml needs of secrets, in docker/secrets, each of them once: what is there stays.
#   docker/make-secrets.sh                  the provider's client secret must be there already, as oidc_client_secret
#   docker/make-secrets.sh --development    takes that of the development realm, which everybody can read
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
if [ "${1:-}" = --development ]; then
  realm="$(dirname "$0")/keycloak/realm-dev.json"
  make oidc_client_secret "$(sed -n '/"clientId": "goose-controller"/,/"secret"/s/.*"secret": "\([^"]*\)".*/\1/p' "$realm")"
fi
# The containers' users read them, those that the operator put there too.
for file in "$folder"/*; do
  chmod 444 "$file"
done
if [ ! -s "$folder/oidc_client_secret" ]; then
  echo "Put the identity provider's client secret into $folder/oidc_client_secret, and run this again." >&2
  exit 1
fi
echo "$folder has all secrets."
