import django.db.models.functions.datetime
from django.db import migrations, models

CLAIM = """
ALTER TABLE idempotency_records ADD CONSTRAINT idempotency_records_k CHECK (octet_length(k) = 32);

CREATE FUNCTION idempotency_claim(pk bytea, pfp bytea, OUT outcome text, OUT status int, OUT headers jsonb,
                                  OUT body bytea, OUT db_now timestamptz)
LANGUAGE plpgsql VOLATILE SET search_path = public, pg_temp AS $$  -- volatile: each query takes a fresh snapshot
DECLARE r record; locked bool := false;
BEGIN
  db_now := clock_timestamp();
  LOOP
    SELECT i.* INTO r FROM idempotency_records i WHERE i.k = pk;
    IF FOUND AND r.expires_at > db_now THEN
      IF r.fp <> pfp THEN outcome := 'mismatch'; RETURN; END IF;
      outcome := 'replay'; status := r.status; headers := r.headers; body := r.body; RETURN;
    END IF;
    IF locked THEN  -- ours: nobody else can be inside now
      DELETE FROM idempotency_records d WHERE d.k = pk; outcome := 'first'; RETURN;
    END IF;
    IF NOT pg_try_advisory_xact_lock(('x' || encode(substr(pk, 1, 8), 'hex'))::bit(64)::bigint) THEN
      outcome := 'in_flight'; RETURN;
    END IF;
    locked := true;  -- look again: the holder before us may just have committed
  END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_records TO orchestrator_service;
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="IdempotencyRecord",
            fields=[
                ("k", models.BinaryField(primary_key=True, serialize=False)),
                ("fp", models.BinaryField()),
                ("status", models.SmallIntegerField()),
                ("headers", models.JSONField()),
                ("body", models.BinaryField()),
                ("request_id", models.TextField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "db_table": "idempotency_records",
                "indexes": [models.Index(fields=["expires_at"], name="idempotency_records_expires")],
            },
        ),
        migrations.RunSQL(CLAIM, migrations.RunSQL.noop),
    ]
