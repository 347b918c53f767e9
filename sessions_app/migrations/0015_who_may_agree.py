"""Guard the rules of requests in the database: who may decide, who counts, a rejection stands, one live grant."""

from typing import ClassVar

from django.db import migrations

VALIDATE = """
ALTER TABLE approvals VALIDATE CONSTRAINT approvals_session_id_fkey;
ALTER TABLE approvals VALIDATE CONSTRAINT approvals_subject;
ALTER TABLE approvals VALIDATE CONSTRAINT approvals_use_within;
ALTER TABLE approval_decisions VALIDATE CONSTRAINT approval_decisions_set_aside;
-- squawk-ignore ban-drop-constraint
ALTER TABLE approval_decisions DROP CONSTRAINT approval_decisions_once;
"""

WHO = """
-- Return the task and the tasks whose work it repeats, back to the first.
CREATE FUNCTION work_task_line(of_task uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
  WITH RECURSIVE line AS (
    SELECT t.id, t.retry_of_id FROM tasks t WHERE t.id = of_task
    UNION
    SELECT t.id, t.retry_of_id FROM tasks t JOIN line ON t.id = line.retry_of_id)
  SELECT id FROM line;
$$;

-- Return the requests about the same subject that this one opens again or replaces, back to the first.
CREATE FUNCTION work_request_line(of_request uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
  WITH RECURSIVE line AS (
    SELECT a.id, a.task_id, a.session_id, a.reopens_id, a.replaces_id FROM approvals a WHERE a.id = of_request
    UNION
    SELECT a.id, a.task_id, a.session_id, a.reopens_id, a.replaces_id FROM approvals a
      JOIN line ON a.id IN (line.reopens_id, line.replaces_id)
        AND (a.task_id, a.session_id) IS NOT DISTINCT FROM (line.task_id, line.session_id))
  SELECT id FROM line WHERE id <> of_request;
$$;

-- Return who made a request or, where it opens another one again or replaces it, who made the first of that line.
CREATE FUNCTION work_requester(of_request uuid)
RETURNS TABLE (issuer text, subject text, behalf_issuer text, behalf_subject text)
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
  SELECT a.created_by_issuer, a.created_by_subject, a.on_behalf_of_issuer, a.on_behalf_of_subject FROM approvals a
    WHERE a.id = of_request OR a.id IN (SELECT work_request_line(of_request)) ORDER BY a.created_at, a.id LIMIT 1;
$$;

-- Return when a request was made or, where it replaces another one, when the first of that line was made.
CREATE FUNCTION work_requested_at(of_request uuid) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
  WITH RECURSIVE line AS (
    SELECT a.id, a.replaces_id, a.created_at FROM approvals a WHERE a.id = of_request
    UNION
    SELECT a.id, a.replaces_id, a.created_at FROM approvals a JOIN line ON a.id = line.replaces_id)
  SELECT min(created_at) FROM line;
$$;

-- Return why a person must not decide a request, or NULL. The arrays are all identities of that person, from
-- people_same(). The words are those of sessions_app.transitions.approvals.separation_of_duties.
--
-- The inbox calls this for each row, so the usual case takes two queries by key: recursion is for repeated tasks and for
-- requests that follow another one.
CREATE FUNCTION work_barred(asked_id uuid, issuers text[], subjects text[]) RETURNS text
LANGUAGE plpgsql STABLE COST 1000 SET search_path = public, pg_temp AS $$
DECLARE asked record; line uuid[]; issuer text; subject text; held boolean; created boolean; requested boolean;
BEGIN
  SELECT a.task_id, a.session_id, a.approver_role, a.action_digest, a.created_by_issuer, a.created_by_subject,
      a.on_behalf_of_issuer, a.on_behalf_of_subject, coalesce(a.reopens_id, a.replaces_id) AS follows,
      t.lease_issuer, t.lease_subject, t.lease_for_issuer, t.lease_for_subject, t.retry_of_id,
      t.created_by_issuer AS creator_issuer, t.created_by_subject AS creator_subject,
      t.on_behalf_of_issuer AS creator_for_issuer, t.on_behalf_of_subject AS creator_for_subject
    INTO asked FROM approvals a LEFT JOIN tasks t ON t.id = a.task_id WHERE a.id = asked_id;
  IF NOT FOUND THEN RETURN 'unknown'; END IF;
  IF asked.retry_of_id IS NOT NULL THEN
    line := ARRAY(SELECT work_task_line(asked.task_id));
  ELSE
    line := ARRAY[asked.task_id];
  END IF;
  FOR n IN 1..cardinality(issuers) LOOP
    issuer := issuers[n];
    subject := subjects[n];
    IF subject = asked.created_by_subject AND issuer = asked.created_by_issuer THEN RETURN 'requester'; END IF;
    IF subject = asked.on_behalf_of_subject AND issuer = asked.on_behalf_of_issuer THEN RETURN 'requested-for'; END IF;
    IF subject = asked.lease_subject AND issuer = asked.lease_issuer THEN RETURN 'holder'; END IF;
    IF subject = asked.lease_for_subject AND issuer = asked.lease_for_issuer THEN RETURN 'held-for'; END IF;
    IF subject = asked.creator_subject AND issuer = asked.creator_issuer THEN RETURN 'creator'; END IF;
    IF subject = asked.creator_for_subject AND issuer = asked.creator_for_issuer THEN RETURN 'created-for'; END IF;
    IF asked.task_id IS NOT NULL THEN
      -- The last one: the same question about the task, or any that a repeated task waited for, requested by this person.
      SELECT
          EXISTS (SELECT FROM task_attempts h WHERE h.task_id = ANY(line)
            AND ((h.holder_subject = subject AND h.holder_issuer = issuer)
              OR (h.holder_for_subject = subject AND h.holder_for_issuer = issuer))),
          asked.retry_of_id IS NOT NULL AND EXISTS (SELECT FROM tasks t WHERE t.id = ANY(line)
            AND ((t.created_by_subject = subject AND t.created_by_issuer = issuer)
              OR (t.on_behalf_of_subject = subject AND t.on_behalf_of_issuer = issuer))),
          EXISTS (SELECT FROM approvals e WHERE e.task_id = ANY(line) AND e.id <> asked_id
            AND ((e.approver_role = asked.approver_role AND e.action_digest IS NOT DISTINCT FROM asked.action_digest)
              OR (e.blocks AND e.task_id <> asked.task_id))
            AND ((e.created_by_subject = subject AND e.created_by_issuer = issuer)
              OR (e.on_behalf_of_subject = subject AND e.on_behalf_of_issuer = issuer)))
        INTO held, created, requested;
      IF held THEN RETURN 'former-holder'; END IF;
      IF created THEN RETURN 'creator'; END IF;
      IF requested THEN RETURN 'earlier-requester'; END IF;
    ELSIF asked.session_id IS NOT NULL THEN
      SELECT
          EXISTS (SELECT FROM sessions s WHERE s.id = asked.session_id
            AND ((s.created_by_subject = subject AND s.created_by_issuer = issuer)
              OR (s.on_behalf_of_subject = subject AND s.on_behalf_of_issuer = issuer))),
          EXISTS (SELECT FROM approvals e WHERE e.session_id = asked.session_id AND e.id <> asked_id
            AND e.approver_role = asked.approver_role AND e.action_digest = asked.action_digest
            AND ((e.created_by_subject = subject AND e.created_by_issuer = issuer)
              OR (e.on_behalf_of_subject = subject AND e.on_behalf_of_issuer = issuer)))
        INTO created, requested;
      IF created THEN RETURN 'session-creator'; END IF;
      IF requested THEN RETURN 'earlier-requester'; END IF;
    END IF;
    IF asked.follows IS NOT NULL THEN
      PERFORM FROM approvals e WHERE e.id IN (SELECT work_request_line(asked_id))
        AND ((e.created_by_subject = subject AND e.created_by_issuer = issuer)
          OR (e.on_behalf_of_subject = subject AND e.on_behalf_of_issuer = issuer));
      IF FOUND THEN RETURN 'earlier-requester'; END IF;
    END IF;
  END LOOP;
  RETURN NULL;
END $$;

-- Return the request on which a decision of this person counts already: this one or, of those that a task waits for,
-- another one that the person approved. NULL where none does. The arrays are those of work_barred().
CREATE FUNCTION work_counted_on(asked_id uuid, issuers text[], subjects text[]) RETURNS uuid
LANGUAGE plpgsql STABLE COST 1000 SET search_path = public, pg_temp AS $$
DECLARE asked record; counted uuid;
BEGIN
  FOR n IN 1..cardinality(issuers) LOOP
    PERFORM FROM approval_decisions d WHERE d.approval_id = asked_id AND d.set_aside_at IS NULL
      AND d.decider_issuer = issuers[n] AND d.decider_subject = subjects[n];
    IF FOUND THEN RETURN asked_id; END IF;
  END LOOP;
  SELECT a.task_id, a.blocks INTO asked FROM approvals a WHERE a.id = asked_id;
  IF NOT asked.blocks THEN RETURN NULL; END IF;
  FOR n IN 1..cardinality(issuers) LOOP
    SELECT d.approval_id INTO counted FROM approvals o JOIN approval_decisions d ON d.approval_id = o.id
      WHERE o.task_id = asked.task_id AND o.blocks AND o.id <> asked_id AND o.status IN ('pending', 'approved')
        AND d.set_aside_at IS NULL AND d.decider_issuer = issuers[n] AND d.decider_subject = subjects[n]
      LIMIT 1;
    IF FOUND THEN RETURN counted; END IF;
  END LOOP;
  RETURN NULL;
END $$;
"""

WHAT = """
-- Return how many requests of the same subject are open, and the one that keeps this question from being asked: a live
-- one for the same action (`already-requested`), or a rejection that stands (`already-rejected`). The subject is the
-- task, the session or, without both, the requester.
CREATE FUNCTION work_question_before(of_tenant text, of_task uuid, of_session uuid, by_issuer text, by_subject text,
  for_issuer text, for_subject text, of_role text, of_digest bytea, beside uuid, reopening uuid,
  OUT open_ones int, OUT approval_id uuid, OUT outcome text)
LANGUAGE plpgsql STABLE SET search_path = public, pg_temp AS $$
DECLARE same uuid[]; lifted uuid[] := '{}'; replaced approvals;
BEGIN
  SELECT * INTO replaced FROM approvals a WHERE a.id = beside;
  IF reopening IS NOT NULL THEN lifted := ARRAY(SELECT work_request_line(reopening)) || reopening; END IF;
  -- A query for each kind of subject, so that each uses the index of that kind.
  IF of_task IS NOT NULL THEN
    SELECT count(*) INTO open_ones FROM approvals a WHERE a.task_id = of_task AND a.status = 'pending';
    same := ARRAY(SELECT a.id FROM approvals a
      WHERE a.task_id = of_task AND a.action_digest IS NOT DISTINCT FROM of_digest);
  ELSIF of_session IS NOT NULL THEN
    SELECT count(*) INTO open_ones FROM approvals a WHERE a.session_id = of_session AND a.status = 'pending';
    same := ARRAY(SELECT a.id FROM approvals a WHERE a.session_id = of_session AND a.action_digest = of_digest);
  ELSE
    SELECT count(*) INTO open_ones FROM approvals a
      WHERE a.created_by_subject = by_subject AND a.created_by_issuer = by_issuer AND a.status = 'pending'
        AND (a.on_behalf_of_issuer, a.on_behalf_of_subject) IS NOT DISTINCT FROM (for_issuer, for_subject)
        AND a.tenant = of_tenant AND a.task_id IS NULL AND a.session_id IS NULL;
    same := ARRAY(SELECT a.id FROM approvals a
      WHERE a.action_digest = of_digest AND a.task_id IS NULL AND a.session_id IS NULL AND a.tenant = of_tenant
        AND a.status IN ('pending', 'approved', 'rejected') AND a.consumed_at IS NULL
        AND (((a.created_by_issuer, a.created_by_subject) IN (SELECT s.issuer, s.subject FROM people_same(
              of_tenant, by_issuer, by_subject) s)
            AND (a.on_behalf_of_issuer, a.on_behalf_of_subject) IS NOT DISTINCT FROM (for_issuer, for_subject))
          OR ((a.reopens_id IS NOT NULL OR a.replaces_id IS NOT NULL) AND EXISTS (SELECT FROM work_requester(a.id) r
            WHERE (r.issuer, r.subject) IN (SELECT s.issuer, s.subject FROM people_same(
                of_tenant, by_issuer, by_subject) s)
              AND (r.behalf_issuer, r.behalf_subject) IS NOT DISTINCT FROM (for_issuer, for_subject)))));
  END IF;
  SELECT a.id, CASE a.status WHEN 'rejected' THEN 'already-rejected' ELSE 'already-requested' END
    INTO approval_id, outcome FROM approvals a
    WHERE a.id = ANY(same) AND a.id IS DISTINCT FROM beside AND NOT a.id = ANY(lifted)
      -- A task can be created with requests to several roles for one action, each of which can be replaced.
      AND NOT (coalesce(replaced.required, false) AND a.required AND a.approver_role <> of_role
        AND work_requested_at(a.id) = work_requested_at(replaced.id))
      -- A rejection stands unless one that opens it again is open or was approved, or a later one in that line.
      AND ((a.status = 'rejected' AND a.approver_role = of_role AND NOT EXISTS (
          WITH RECURSIVE later AS (
            SELECT r.id, r.status, r.expires_at FROM approvals r WHERE r.reopens_id = a.id
            UNION
            SELECT r.id, r.status, r.expires_at FROM approvals r JOIN later ON later.id IN (r.reopens_id, r.replaces_id))
          SELECT FROM later WHERE later.status = 'approved'
            OR (later.status = 'pending' AND later.expires_at > clock_timestamp())))
        OR (of_digest IS NOT NULL AND a.status = 'pending' AND a.expires_at > clock_timestamp())
        OR (of_digest IS NOT NULL AND a.status = 'approved' AND a.consumed_at IS NULL
          AND (a.use_within_seconds IS NULL
            OR a.decision_at + make_interval(secs => a.use_within_seconds) > clock_timestamp())))
    ORDER BY a.status = 'rejected' DESC, a.id DESC LIMIT 1;
END $$;

-- Make the requests of one requester without task and session wait for each other, and for the decisions on those whose
-- time has just passed: a decision made in time counts, even where it is committed later.
CREATE FUNCTION work_lock_requester(of_tenant text, by_issuer text, by_subject text, for_issuer text, for_subject text)
RETURNS void LANGUAGE plpgsql VOLATILE SET search_path = public, pg_temp AS $$
BEGIN
  -- All linked identities of the requester share one key.
  PERFORM pg_advisory_xact_lock(hashtextextended(jsonb_build_array('requester', of_tenant,
    (SELECT min(jsonb_build_array(s.issuer, s.subject)::text) FROM people_same(of_tenant, by_issuer, by_subject) s),
    for_issuer, for_subject)::text, 0));
  PERFORM FROM approvals a
    WHERE a.status = 'pending' AND a.expires_at <= clock_timestamp() AND a.tenant = of_tenant
      AND a.task_id IS NULL AND a.session_id IS NULL
      AND ((a.created_by_issuer, a.created_by_subject, a.on_behalf_of_issuer, a.on_behalf_of_subject)
          IS NOT DISTINCT FROM (by_issuer, by_subject, for_issuer, for_subject)
        OR ((a.reopens_id IS NOT NULL OR a.replaces_id IS NOT NULL) AND EXISTS (SELECT FROM work_requester(a.id) r
          WHERE (r.issuer, r.subject, r.behalf_issuer, r.behalf_subject)
            IS NOT DISTINCT FROM (by_issuer, by_subject, for_issuer, for_subject))))
    ORDER BY a.id FOR NO KEY UPDATE;
END $$;

CREATE FUNCTION work_request_may_be_made() RETURNS trigger
LANGUAGE plpgsql VOLATILE SET search_path = public, pg_temp AS $$
DECLARE before record; other approvals; origin approvals := NEW; most int := 20;
BEGIN
  IF NOT people_admit(NEW.tenant, ARRAY[NEW.created_by_issuer, NEW.on_behalf_of_issuer]::text[],
      ARRAY[NEW.created_by_subject, NEW.on_behalf_of_subject]::text[]) THEN
    RAISE EXCEPTION 'approval %: the requester is cut off', NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  -- Two requests about one subject wait for each other here: the second one sees the first.
  IF NEW.task_id IS NOT NULL THEN
    PERFORM FROM tasks t WHERE t.id = NEW.task_id AND t.tenant = NEW.tenant
      AND t.status IN ('pending', 'blocked', 'active') FOR NO KEY UPDATE;
  ELSIF NEW.session_id IS NOT NULL THEN
    PERFORM FROM sessions s WHERE s.id = NEW.session_id AND s.tenant = NEW.tenant
      AND s.status IN ('pending', 'active') FOR NO KEY UPDATE;
  ELSE
    most := 100;
    IF NEW.reopens_id IS NOT NULL OR NEW.replaces_id IS NOT NULL THEN
      SELECT * INTO origin FROM approvals a
        WHERE a.id = coalesce(NEW.reopens_id, NEW.replaces_id)
          OR a.id IN (SELECT work_request_line(coalesce(NEW.reopens_id, NEW.replaces_id)))
        ORDER BY a.created_at, a.id LIMIT 1;
    END IF;
    PERFORM work_lock_requester(NEW.tenant, origin.created_by_issuer, origin.created_by_subject,
      origin.on_behalf_of_issuer, origin.on_behalf_of_subject);
  END IF;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'approval %: what it is about is over, or of another tenant', NEW.id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  SELECT * INTO before FROM work_question_before(NEW.tenant, NEW.task_id, NEW.session_id, origin.created_by_issuer,
    origin.created_by_subject, origin.on_behalf_of_issuer, origin.on_behalf_of_subject, NEW.approver_role,
    NEW.action_digest, coalesce(NEW.replaces_id, NEW.id), NEW.reopens_id);
  IF before.open_ones >= most AND NEW.replaces_id IS NULL THEN
    RAISE EXCEPTION 'approval %: too many open requests', NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  IF NEW.reopens_id IS NOT NULL THEN
    PERFORM FROM approvals r WHERE r.id = NEW.reopens_id AND r.status = 'rejected' AND r.tenant = NEW.tenant
      AND r.approver_role = NEW.approver_role AND r.action_digest IS NOT DISTINCT FROM NEW.action_digest
      AND r.required_approvals <= NEW.required_approvals
      AND (r.task_id IN (SELECT work_task_line(NEW.task_id))
        OR (NEW.task_id IS NULL AND r.task_id IS NULL AND r.session_id IS NOT DISTINCT FROM NEW.session_id));
    IF NOT FOUND THEN
      RAISE EXCEPTION 'approval %: approval % is no rejection of the same question', NEW.id, NEW.reopens_id
        USING ERRCODE = 'integrity_constraint_violation';
    END IF;
  END IF;
  IF NEW.replaces_id IS NOT NULL THEN
    PERFORM FROM approvals r WHERE r.id = NEW.replaces_id AND r.status = 'pending' AND r.tenant = NEW.tenant
      AND r.required_approvals <= NEW.required_approvals
      AND (r.task_id, r.session_id, r.action_digest, r.blocks, r.required)
        IS NOT DISTINCT FROM (NEW.task_id, NEW.session_id, NEW.action_digest, NEW.blocks, NEW.required);
    IF NOT FOUND THEN
      RAISE EXCEPTION 'approval %: approval % is no open request that it can replace', NEW.id, NEW.replaces_id
        USING ERRCODE = 'integrity_constraint_violation';
    END IF;
  END IF;
  IF before.approval_id IS NULL THEN RETURN NEW; END IF;
  SELECT * INTO other FROM approvals WHERE id = before.approval_id;
  -- A task can be created with requests to several roles for one action. They are used together.
  IF before.outcome = 'already-requested' AND other.required AND NEW.required
     AND other.approver_role <> NEW.approver_role AND other.created_at = NEW.created_at THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'approval %: % by approval %', NEW.id, before.outcome, before.approval_id
    USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER approvals_may_be_made BEFORE INSERT ON approvals
  FOR EACH ROW EXECUTE FUNCTION work_request_may_be_made();
ALTER TABLE approvals ENABLE ALWAYS TRIGGER approvals_may_be_made;

-- At COMMIT: a request that was replaced is cancelled, so that one of the two is left.
CREATE FUNCTION work_replaced_is_cancelled() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM FROM approvals WHERE id = NEW.replaces_id AND status <> 'cancelled';
  IF FOUND THEN
    RAISE EXCEPTION 'approval %: approval % is still open', NEW.id, NEW.replaces_id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER approvals_replace_one AFTER INSERT ON approvals
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.replaces_id IS NOT NULL)
  EXECUTE FUNCTION work_replaced_is_cancelled();
ALTER TABLE approvals ENABLE ALWAYS TRIGGER approvals_replace_one;
"""


class Migration(migrations.Migration):
    """Functions, and the triggers of new requests."""

    dependencies: ClassVar = [("sessions_app", "0014_indexes_of_requests")]
    operations: ClassVar = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(VALIDATE, migrations.RunSQL.noop)],
            state_operations=[migrations.RemoveConstraint("decision", "approval_decisions_once")],
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (WHO, WHAT)),
    ]
