"""Guard the rules of agreement in the database: who may decide, one person counts once, a no stands, one live grant."""

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

-- Return the requests that this one opens again or replaces, back to the first.
CREATE FUNCTION work_request_line(of_request uuid) RETURNS SETOF uuid
LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
  WITH RECURSIVE line AS (
    SELECT a.id, a.reopens_id, a.replaces_id FROM approvals a WHERE a.id = of_request
    UNION
    SELECT a.id, a.reopens_id, a.replaces_id FROM approvals a
      JOIN line ON a.id IN (line.reopens_id, line.replaces_id))
  SELECT id FROM line WHERE id <> of_request;
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
      -- The last one: the same question about the task, or about one that it repeats, requested by this person.
      SELECT
          EXISTS (SELECT FROM task_attempts h WHERE h.task_id = ANY(line)
            AND ((h.holder_subject = subject AND h.holder_issuer = issuer)
              OR (h.holder_for_subject = subject AND h.holder_for_issuer = issuer))),
          asked.retry_of_id IS NOT NULL AND EXISTS (SELECT FROM tasks t WHERE t.id = ANY(line)
            AND ((t.created_by_subject = subject AND t.created_by_issuer = issuer)
              OR (t.on_behalf_of_subject = subject AND t.on_behalf_of_issuer = issuer))),
          EXISTS (SELECT FROM approvals e WHERE e.task_id = ANY(line) AND e.id <> asked_id
            AND e.approver_role = asked.approver_role AND e.action_digest IS NOT DISTINCT FROM asked.action_digest
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
DECLARE same uuid[];
BEGIN
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
        AND ((a.created_by_issuer, a.created_by_subject, a.on_behalf_of_issuer, a.on_behalf_of_subject)
            IS NOT DISTINCT FROM (by_issuer, by_subject, for_issuer, for_subject)
          OR EXISTS (SELECT FROM work_request_line(a.id) AS line(id) JOIN approvals o ON o.id = line.id
            WHERE (o.created_by_issuer, o.created_by_subject, o.on_behalf_of_issuer, o.on_behalf_of_subject)
              IS NOT DISTINCT FROM (by_issuer, by_subject, for_issuer, for_subject))));
  END IF;
  SELECT a.id, CASE a.status WHEN 'rejected' THEN 'already-rejected' ELSE 'already-requested' END
    INTO approval_id, outcome FROM approvals a
    WHERE a.id = ANY(same) AND a.id IS DISTINCT FROM beside AND a.id IS DISTINCT FROM reopening
      AND ((a.status = 'rejected' AND a.approver_role = of_role
          AND NOT EXISTS (SELECT FROM approvals r WHERE r.id = ANY(same) AND r.reopens_id = a.id))
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
  PERFORM pg_advisory_xact_lock(hashtextextended(
    jsonb_build_array('requester', of_tenant, by_issuer, by_subject, for_issuer, for_subject)::text, 0));
  PERFORM FROM approvals a
    WHERE a.status = 'pending' AND a.expires_at <= clock_timestamp() AND a.tenant = of_tenant
      AND a.task_id IS NULL AND a.session_id IS NULL
      AND ((a.created_by_issuer, a.created_by_subject, a.on_behalf_of_issuer, a.on_behalf_of_subject)
          IS NOT DISTINCT FROM (by_issuer, by_subject, for_issuer, for_subject)
        OR EXISTS (SELECT FROM work_request_line(a.id) AS line(id) JOIN approvals o ON o.id = line.id
          WHERE (o.created_by_issuer, o.created_by_subject, o.on_behalf_of_issuer, o.on_behalf_of_subject)
            IS NOT DISTINCT FROM (by_issuer, by_subject, for_issuer, for_subject)))
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
    PERFORM FROM tasks t WHERE t.id = NEW.task_id AND t.tenant = NEW.tenant FOR NO KEY UPDATE;
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
  -- A task can be created with requests to several roles for one action, each of which can be replaced. They are used
  -- together.
  IF before.outcome = 'already-requested' AND other.required AND NEW.required
     AND other.approver_role <> NEW.approver_role
     AND work_requested_at(other.id) = coalesce(work_requested_at(NEW.replaces_id), NEW.created_at) THEN
    RETURN NEW;
  END IF;
  RAISE EXCEPTION 'approval %: % by approval %', NEW.id, before.outcome, before.approval_id
    USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER approvals_may_be_made BEFORE INSERT ON approvals
  FOR EACH ROW EXECUTE FUNCTION work_request_may_be_made();
ALTER TABLE approvals ENABLE ALWAYS TRIGGER approvals_may_be_made;
"""

DECISIONS = """
-- The requester and the holder are copied from their rows, whatever the writer gives.
CREATE OR REPLACE FUNCTION work_decision_is_of_another() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE asked approvals; task tasks; why text; counted uuid; issuers text[]; subjects text[];
BEGIN
  SELECT * INTO asked FROM approvals WHERE id = NEW.approval_id;
  IF NOT people_admit(asked.tenant, ARRAY[NEW.decider_issuer]::text[], ARRAY[NEW.decider_subject]::text[]) THEN
    RAISE EXCEPTION 'approval %: the decider is cut off', NEW.approval_id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  -- Two decisions about one task wait for each other here: the second one sees the first.
  SELECT * INTO task FROM tasks t WHERE t.id = asked.task_id FOR NO KEY UPDATE;
  SELECT * INTO asked FROM approvals a
    WHERE a.id = NEW.approval_id AND a.status = 'pending' AND a.expires_at > now() FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'approval % is not open', NEW.approval_id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  IF NEW.decision = 'approved' AND task.deadline <= now() THEN
    RAISE EXCEPTION 'approval %: its task is past its deadline', NEW.approval_id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  SELECT array_agg(me.issuer), array_agg(me.subject) INTO issuers, subjects
    FROM people_same(asked.tenant, NEW.decider_issuer, NEW.decider_subject) me;
  why := work_barred(NEW.approval_id, issuers, subjects);
  IF why IS NOT NULL THEN
    RAISE EXCEPTION 'approval %: separation of duties (%)', NEW.approval_id, why
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  counted := work_counted_on(NEW.approval_id, issuers, subjects);
  IF counted = NEW.approval_id OR (counted IS NOT NULL AND NEW.decision = 'approved') THEN
    RAISE EXCEPTION 'approval %: a decision of this person counts already, on %', NEW.approval_id, counted
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  IF NEW.set_aside_at IS NOT NULL THEN
    RAISE EXCEPTION 'approval %: a decision counts when it is made', NEW.approval_id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  NEW.requester_issuer := asked.created_by_issuer;
  NEW.requester_subject := asked.created_by_subject;
  NEW.requester_for_issuer := asked.on_behalf_of_issuer;
  NEW.requester_for_subject := asked.on_behalf_of_subject;
  NEW.holder_issuer := task.lease_issuer;
  NEW.holder_subject := task.lease_subject;
  NEW.holder_for_issuer := task.lease_for_issuer;
  NEW.holder_for_subject := task.lease_for_subject;
  RETURN NEW;
END $$;

-- A decision stays as it was made. While its request is open it can be set aside, once.
CREATE OR REPLACE FUNCTION work_decision_stays() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    -- Only along with its approval, whose own trail ends with an event.
    PERFORM FROM approvals WHERE id = OLD.approval_id;
    IF NOT FOUND THEN RETURN OLD; END IF;
  ELSIF OLD.set_aside_at IS NULL AND NEW.set_aside_at IS NOT NULL
     AND to_jsonb(NEW) - '{set_aside_at,set_aside_reason}'::text[]
       = to_jsonb(OLD) - '{set_aside_at,set_aside_reason}'::text[] THEN
    PERFORM FROM approvals WHERE id = OLD.approval_id AND status = 'pending';
    IF FOUND THEN RETURN NEW; END IF;
  END IF;
  RAISE EXCEPTION 'a decision stays as it was made: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;

-- At COMMIT: the outcome is what the decisions that count amount to.
CREATE OR REPLACE FUNCTION work_approval_is_agreed() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE asked approvals; agreed int; refused int;
BEGIN
  IF TG_TABLE_NAME = 'approvals' THEN
    SELECT * INTO asked FROM approvals WHERE id = NEW.id;
  ELSE
    SELECT * INTO asked FROM approvals WHERE id = NEW.approval_id;
  END IF;
  IF NOT FOUND THEN RETURN NULL; END IF;
  SELECT count(*) FILTER (WHERE decision = 'approved'), count(*) FILTER (WHERE decision = 'rejected')
    INTO agreed, refused FROM approval_decisions WHERE approval_id = asked.id AND set_aside_at IS NULL;
  IF agreed <> asked.granted OR (asked.status = 'approved') <> (agreed >= asked.required_approvals AND refused = 0)
     OR (asked.status = 'rejected') <> (refused > 0) THEN
    RAISE EXCEPTION 'approval % is not what was decided', asked.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;
DROP TRIGGER approval_decisions_count ON approval_decisions;
CREATE CONSTRAINT TRIGGER approval_decisions_count AFTER INSERT OR UPDATE ON approval_decisions
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION work_approval_is_agreed();
ALTER TABLE approval_decisions ENABLE ALWAYS TRIGGER approval_decisions_count;
"""

USE = """
CREATE OR REPLACE FUNCTION work_approval_keeps_its_question() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  IF (NEW.task_id, NEW.session_id, NEW.approver_role, NEW.reason, NEW.action, NEW.action_digest,
      NEW.required_approvals, NEW.expires_at, NEW.use_within_seconds, NEW.blocks, NEW.required, NEW.reopens_id,
      NEW.replaces_id, NEW.created_by_issuer, NEW.created_by_subject, NEW.on_behalf_of_issuer, NEW.on_behalf_of_subject)
     IS DISTINCT FROM
     (OLD.task_id, OLD.session_id, OLD.approver_role, OLD.reason, OLD.action, OLD.action_digest,
      OLD.required_approvals, OLD.expires_at, OLD.use_within_seconds, OLD.blocks, OLD.required, OLD.reopens_id,
      OLD.replaces_id, OLD.created_by_issuer, OLD.created_by_subject, OLD.on_behalf_of_issuer, OLD.on_behalf_of_subject)
  THEN
    RAISE EXCEPTION 'approval %: what is asked does not change', NEW.id USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.consumed_at IS NOT DISTINCT FROM OLD.consumed_at THEN RETURN NEW; END IF;
  IF OLD.consumed_at IS NOT NULL THEN
    RAISE EXCEPTION 'approval % is consumed once', NEW.id USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.decision_at + make_interval(secs => OLD.use_within_seconds) <= now() THEN
    RAISE EXCEPTION 'approval % has lapsed', NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  PERFORM FROM tasks t WHERE t.id = NEW.task_id AND (t.status NOT IN ('pending', 'active') OR t.deadline <= now());
  IF NOT FOUND THEN
    PERFORM FROM sessions s
      WHERE s.id = NEW.session_id AND (s.status NOT IN ('pending', 'active') OR s.expires_at <= now());
  END IF;
  IF FOUND THEN
    RAISE EXCEPTION 'approval %: what it is about is over, or waits for others', NEW.id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;

-- At COMMIT: of several grants for one action of one subject, all are used together.
CREATE FUNCTION work_action_is_used_once() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE before record;
BEGIN
  SELECT * INTO before FROM work_question_before(NEW.tenant, NEW.task_id, NEW.session_id, NEW.created_by_issuer,
    NEW.created_by_subject, NEW.on_behalf_of_issuer, NEW.on_behalf_of_subject, NEW.approver_role, NEW.action_digest,
    NEW.id, NULL);
  IF before.outcome = 'already-requested' THEN
    PERFORM FROM approvals WHERE id = before.approval_id AND status = 'approved';
    IF FOUND THEN
      RAISE EXCEPTION 'approval %: approval % grants the same action', NEW.id, before.approval_id
        USING ERRCODE = 'integrity_constraint_violation';
    END IF;
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER approvals_used_once AFTER UPDATE ON approvals
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.consumed_at IS NULL AND NEW.consumed_at IS NOT NULL AND NEW.task_id IS NOT NULL)
  EXECUTE FUNCTION work_action_is_used_once();
ALTER TABLE approvals ENABLE ALWAYS TRIGGER approvals_used_once;
"""

TASKS = """
-- A task that was created with requests goes on when each of them was approved, or another one that stands in for it. A
-- request that was added later may also have been cancelled.
CREATE OR REPLACE FUNCTION work_unblocked_by_agreement() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM FROM approvals WHERE task_id = NEW.id AND blocks AND status = 'pending';
  IF FOUND THEN
    RAISE EXCEPTION 'task % waits for an approval', NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  PERFORM FROM approvals WHERE task_id = NEW.id AND blocks;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no request is about task %', NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  PERFORM FROM approvals ended
    WHERE ended.task_id = NEW.id AND ended.blocks AND ended.status <> 'approved'
      AND (ended.required OR ended.status <> 'cancelled')
      AND NOT EXISTS (
        WITH RECURSIVE after AS (
          SELECT ended.id
          UNION
          SELECT r.id FROM approvals r JOIN after ON r.replaces_id = after.id)
        SELECT FROM approvals a JOIN approvals one ON one.id IN (SELECT id FROM after)
          WHERE a.task_id = NEW.id AND a.blocks AND a.status = 'approved'
            AND (a.id = one.id OR (a.approver_role = one.approver_role
              AND a.required_approvals >= one.required_approvals
              AND a.action_digest IS NOT DISTINCT FROM one.action_digest AND a.created_at > one.created_at)));
  IF FOUND THEN
    RAISE EXCEPTION 'a request about task % was not approved', NEW.id
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;

-- A person who decided about a task does not get it, nor an agent for that person, nor a linked identity; nor does
-- anyone who is cut off.
CREATE OR REPLACE FUNCTION work_holder_decided_nothing() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM FROM approvals a JOIN approval_decisions d ON d.approval_id = a.id
    WHERE a.task_id = NEW.id AND EXISTS (
      SELECT FROM people_same(NEW.tenant, d.decider_issuer, d.decider_subject) AS one
      WHERE (one.issuer, one.subject) IN
        ((NEW.lease_issuer, NEW.lease_subject), (NEW.lease_for_issuer, NEW.lease_for_subject)));
  IF FOUND THEN
    RAISE EXCEPTION 'task %: its holder decided about it', NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  PERFORM FROM people_person p WHERE p.tenant = NEW.tenant AND NOT p.is_active AND (p.issuer, p.subject) IN
    ((NEW.lease_issuer, NEW.lease_subject), (NEW.lease_for_issuer, NEW.lease_for_subject));
  IF FOUND THEN
    RAISE EXCEPTION 'task %: its holder is cut off', NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;
"""

VIEW = """
-- squawk-ignore ban-drop-view
DROP VIEW pending_approvals;
CREATE VIEW pending_approvals AS
  SELECT a.*, t.description, t.from_role, t.to_role
  FROM approvals a LEFT JOIN tasks t ON t.id = a.task_id
  WHERE a.status = 'pending' AND a.expires_at > statement_timestamp();
GRANT SELECT ON pending_approvals TO orchestrator_service;
"""


class Migration(migrations.Migration):
    """Functions, triggers and the view of approvals."""

    dependencies: ClassVar = [("sessions_app", "0014_indexes_of_requests")]
    operations: ClassVar = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(VALIDATE, migrations.RunSQL.noop)],
            state_operations=[migrations.RemoveConstraint("decision", "approval_decisions_once")],
        ),
        *(migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (WHO, WHAT, DECISIONS, USE, TASKS, VIEW)),
    ]
