from django.db import migrations, models

# Like idempotency_claim(), which the version before calls, and returns the whole record, for its code to be verified.
# Times are texts: a forged infinity must not end in an error of the client.
RESERVE = """
CREATE FUNCTION idempotency_reserve(pk bytea, pfp bytea, OUT outcome text, OUT db_now timestamptz,
                                    OUT status int, OUT headers jsonb, OUT body bytea,
                                    OUT request_id text, OUT created_at text, OUT expires_at text, OUT mac bytea)
LANGUAGE plpgsql VOLATILE SET search_path = public, pg_temp AS $$  -- volatile: each query takes a fresh snapshot
DECLARE
  r record;
  locked bool := false;
  written CONSTANT text := 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"';
BEGIN
  db_now := clock_timestamp();
  LOOP
    SELECT i.* INTO r FROM idempotency_records i WHERE i.k = pk;
    IF FOUND AND r.expires_at > db_now THEN
      IF r.fp <> pfp THEN outcome := 'mismatch'; RETURN; END IF;
      outcome := 'replay'; status := r.status; headers := r.headers; body := r.body; request_id := r.request_id; mac := r.mac;
      created_at := coalesce(to_char(r.created_at AT TIME ZONE 'UTC', written), '');
      expires_at := coalesce(to_char(r.expires_at AT TIME ZONE 'UTC', written), '');
      RETURN;
    END IF;
    IF locked THEN  -- this transaction holds the lock: no other can be inside now
      DELETE FROM idempotency_records d WHERE d.k = pk; outcome := 'first'; RETURN;
    END IF;
    IF NOT pg_try_advisory_xact_lock(('x' || encode(substr(pk, 1, 8), 'hex'))::bit(64)::bigint) THEN
      outcome := 'in_flight'; RETURN;
    END IF;
    locked := true;  -- look again: the holder before may just have committed
  END LOOP;
END $$;
"""
UNRESERVE = "DROP FUNCTION idempotency_reserve(bytea, bytea)"


class Migration(migrations.Migration):
    dependencies = [("idempotency", "0001_initial")]
    operations = [
        migrations.AddField("idempotencyrecord", "mac", models.BinaryField(null=True)),
        migrations.RunSQL(RESERVE, UNRESERVE),
    ]
