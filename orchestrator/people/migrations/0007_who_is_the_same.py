"""SQL functions about people: which identities belong to one person, and who is cut off."""

from typing import ClassVar

from django.db import migrations

# An alias refers to a row of the same tenant that is not an alias, so that one step leads to all linked identities.
FORMER_KEY = """
-- squawk-ignore ban-drop-constraint
ALTER TABLE people_person DROP CONSTRAINT people_person_issuer_subject;
ALTER TABLE people_person VALIDATE CONSTRAINT people_person_alias_of_id_fkey;
ALTER TABLE people_person VALIDATE CONSTRAINT people_person_not_alias_of_itself;
"""

ALIASES = """
CREATE FUNCTION people_alias_is_flat() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM FROM people_person p WHERE p.id = NEW.alias_of_id AND p.tenant = NEW.tenant AND p.alias_of_id IS NULL
    FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'person % cannot be an alias of person %', NEW.id, NEW.alias_of_id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  PERFORM FROM people_person p WHERE p.alias_of_id = NEW.id;
  IF FOUND THEN
    RAISE EXCEPTION 'person % has aliases and cannot be one', NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER people_person_flat_aliases BEFORE INSERT OR UPDATE ON people_person
  FOR EACH ROW WHEN (NEW.alias_of_id IS NOT NULL) EXECUTE FUNCTION people_alias_is_flat();
ALTER TABLE people_person ENABLE ALWAYS TRIGGER people_person_flat_aliases;
"""

SAME = """
-- Return all linked identities of one person, including the given one, which need not have a row.
CREATE FUNCTION people_same(of_tenant text, of_issuer text, of_subject text) RETURNS TABLE (issuer text, subject text)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
  SELECT of_issuer, of_subject
  UNION
  SELECT other.issuer, other.subject FROM people_person me
    JOIN people_person other ON other.id = coalesce(me.alias_of_id, me.id)
      OR other.alias_of_id = coalesce(me.alias_of_id, me.id)
    WHERE me.tenant = of_tenant AND me.issuer = of_issuer AND me.subject = of_subject;
$$;
"""

# A transaction that decides, requests, claims or consumes takes a shared lock on its actor's identities. A cut-off takes
# the exclusive lock: it waits for the running ones, and later ones see that the identity is cut off.
ENTERING = """
CREATE FUNCTION people_lock_key(of_tenant text, of_issuer text, of_subject text) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = public, pg_temp AS $$
  SELECT hashtextextended(jsonb_build_array('person', of_tenant, of_issuer, of_subject)::text, 0);
$$;

-- Take the shared locks until the transaction ends, then return whether none of these identities is cut off.
CREATE FUNCTION people_admit(of_tenant text, issuers text[], subjects text[]) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = public, pg_temp AS $$
DECLARE key bigint;
BEGIN
  FOR key IN SELECT people_lock_key(of_tenant, who.issuer, who.subject)
      FROM unnest(issuers, subjects) AS who(issuer, subject) WHERE who.subject IS NOT NULL ORDER BY 1 LOOP
    PERFORM pg_advisory_xact_lock_shared(key);
  END LOOP;
  RETURN NOT EXISTS (SELECT FROM unnest(issuers, subjects) AS who(issuer, subject) JOIN people_person p
    ON (p.tenant, p.issuer, p.subject) = (of_tenant, who.issuer, who.subject) WHERE NOT p.is_active);
END $$;

-- Take the exclusive locks until the transaction ends.
CREATE FUNCTION people_hold(of_tenant text, issuers text[], subjects text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = public, pg_temp AS $$
DECLARE key bigint;
BEGIN
  FOR key IN SELECT people_lock_key(of_tenant, who.issuer, who.subject)
      FROM unnest(issuers, subjects) AS who(issuer, subject) WHERE who.subject IS NOT NULL ORDER BY 1 LOOP
    PERFORM pg_advisory_xact_lock(key);
  END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    """Drop the former key; add the functions, and the trigger that keeps aliases one step long."""

    dependencies: ClassVar = [("people", "0006_one_row_in_each_tenant")]
    operations: ClassVar = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(FORMER_KEY, migrations.RunSQL.noop)],
            state_operations=[migrations.RemoveConstraint("person", "people_person_issuer_subject")],
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (ALIASES, SAME, ENTERING)),
    ]
