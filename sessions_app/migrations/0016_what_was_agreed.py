"""Guard decisions, their use and their effects in the database, and the moves and origins of the rows of the work."""

from typing import ClassVar

from django.db import migrations

DECISIONS = """
-- The requester and the holder are copied from their rows. The values of the writer do not count.
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
  IF TG_TABLE_NAME = 'approval_decisions' AND asked.status = 'approved' THEN
    -- A cut-off sets decisions aside. Where plain SQL cut a decider off without that, the decision does not count either.
    PERFORM FROM approval_decisions d JOIN people_person p
      ON (p.tenant, p.issuer, p.subject) = (asked.tenant, d.decider_issuer, d.decider_subject)
      WHERE d.approval_id = asked.id AND d.set_aside_at IS NULL AND NOT p.is_active;
    IF FOUND THEN
      RAISE EXCEPTION 'approval %: a decider is cut off', asked.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
  END IF;
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
      NEW.replaces_id, NEW.created_by_issuer, NEW.created_by_subject, NEW.on_behalf_of_issuer,
      NEW.on_behalf_of_subject)
     IS DISTINCT FROM
     (OLD.task_id, OLD.session_id, OLD.approver_role, OLD.reason, OLD.action, OLD.action_digest,
      OLD.required_approvals, OLD.expires_at, OLD.use_within_seconds, OLD.blocks, OLD.required, OLD.reopens_id,
      OLD.replaces_id, OLD.created_by_issuer, OLD.created_by_subject, OLD.on_behalf_of_issuer,
      OLD.on_behalf_of_subject)
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
DECLARE before record; requester record;
BEGIN
  SELECT * INTO requester FROM work_requester(NEW.id);
  SELECT * INTO before FROM work_question_before(NEW.tenant, NEW.task_id, NEW.session_id, requester.issuer,
    requester.subject, requester.behalf_issuer, requester.behalf_subject, NEW.approver_role, NEW.action_digest, NULL,
    NULL);
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
  WHEN (OLD.consumed_at IS NULL AND NEW.consumed_at IS NOT NULL)
  EXECUTE FUNCTION work_action_is_used_once();
ALTER TABLE approvals ENABLE ALWAYS TRIGGER approvals_used_once;
"""

TASKS = """
-- A task that was created with requests goes on when each of them was approved, or the one that an operator replaced it
-- by. A request that was added later may also have been cancelled.
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
          SELECT r.id, r.status FROM approvals r WHERE r.replaces_id = ended.id
          UNION
          SELECT r.id, r.status FROM approvals r JOIN after ON r.replaces_id = after.id)
        SELECT FROM after WHERE after.status = 'approved');
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

# Plain SQL takes no other way than the transitions: django-fsm has the same tables, and a test compares them. These guards
# speak at COMMIT and after those of the trail, as their names say: what lacks its event is refused for that.
MOVES = """
CREATE FUNCTION work_moves_are_legal() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  IF NOT (TG_TABLE_NAME, OLD.status, NEW.status) IN (
      ('sessions', 'pending', 'active'), ('sessions', 'pending', 'expired'), ('sessions', 'active', 'completed'),
      ('sessions', 'active', 'failed'), ('sessions', 'active', 'expired'),
      ('tasks', 'pending', 'active'), ('tasks', 'pending', 'blocked'), ('tasks', 'pending', 'failed'),
      ('tasks', 'pending', 'cancelled'), ('tasks', 'blocked', 'pending'), ('tasks', 'blocked', 'failed'),
      ('tasks', 'blocked', 'cancelled'), ('tasks', 'active', 'pending'), ('tasks', 'active', 'completed'),
      ('tasks', 'active', 'failed'), ('tasks', 'active', 'cancelled'),
      ('approvals', 'pending', 'approved'), ('approvals', 'pending', 'rejected'), ('approvals', 'pending', 'expired'),
      ('approvals', 'pending', 'cancelled')) THEN
    RAISE EXCEPTION '% %: no move leads from % to %', TG_TABLE_NAME, OLD.id, OLD.status, NEW.status
      USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER sessions_z_legal_moves AFTER UPDATE ON sessions DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION work_moves_are_legal();
CREATE CONSTRAINT TRIGGER tasks_z_legal_moves AFTER UPDATE ON tasks DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION work_moves_are_legal();
CREATE CONSTRAINT TRIGGER approvals_z_legal_moves AFTER UPDATE ON approvals DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION work_moves_are_legal();
ALTER TABLE sessions ENABLE ALWAYS TRIGGER sessions_z_legal_moves;
ALTER TABLE tasks ENABLE ALWAYS TRIGGER tasks_z_legal_moves;
ALTER TABLE approvals ENABLE ALWAYS TRIGGER approvals_z_legal_moves;
"""

# Separation of duties rests on who created a row, for whom, and which task it repeats. The end of a grant rests on when
# it was approved.
ORIGINS = """
CREATE FUNCTION work_origin_stays() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  RAISE EXCEPTION '% %: its origin does not change', TG_TABLE_NAME, OLD.id USING ERRCODE = 'restrict_violation';
END $$;
CREATE CONSTRAINT TRIGGER tasks_z_origin AFTER UPDATE ON tasks DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN ((OLD.created_at, OLD.created_by_issuer, OLD.created_by_subject, OLD.on_behalf_of_issuer,
      OLD.on_behalf_of_subject, OLD.retry_of_id) IS DISTINCT FROM (NEW.created_at, NEW.created_by_issuer,
      NEW.created_by_subject, NEW.on_behalf_of_issuer, NEW.on_behalf_of_subject, NEW.retry_of_id))
  EXECUTE FUNCTION work_origin_stays();
CREATE CONSTRAINT TRIGGER sessions_z_origin AFTER UPDATE ON sessions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN ((OLD.created_at, OLD.created_by_issuer, OLD.created_by_subject, OLD.on_behalf_of_issuer,
      OLD.on_behalf_of_subject) IS DISTINCT FROM (NEW.created_at, NEW.created_by_issuer, NEW.created_by_subject,
      NEW.on_behalf_of_issuer, NEW.on_behalf_of_subject))
  EXECUTE FUNCTION work_origin_stays();
CREATE CONSTRAINT TRIGGER approvals_z_settled_once AFTER UPDATE ON approvals DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.created_at <> NEW.created_at OR (OLD.status <> 'pending'
    AND (OLD.decision_at, OLD.notes) IS DISTINCT FROM (NEW.decision_at, NEW.notes)))
  EXECUTE FUNCTION work_origin_stays();
ALTER TABLE tasks ENABLE ALWAYS TRIGGER tasks_z_origin;
ALTER TABLE sessions ENABLE ALWAYS TRIGGER sessions_z_origin;
ALTER TABLE approvals ENABLE ALWAYS TRIGGER approvals_z_settled_once;

-- An approval goes with its task or session, and not by itself.
CREATE FUNCTION work_approval_goes_with_its_subject() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM FROM tasks WHERE id = OLD.task_id;
  IF NOT FOUND THEN PERFORM FROM sessions WHERE id = OLD.session_id; END IF;
  IF FOUND OR (OLD.task_id IS NULL AND OLD.session_id IS NULL) THEN
    RAISE EXCEPTION 'approval %: it is deleted with its task or session only', OLD.id
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER approvals_z_go_with_their_subject AFTER DELETE ON approvals
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION work_approval_goes_with_its_subject();
ALTER TABLE approvals ENABLE ALWAYS TRIGGER approvals_z_go_with_their_subject;
"""


class Migration(migrations.Migration):
    """Functions, triggers and the view of approvals, and what plain SQL may not do with the work."""

    dependencies: ClassVar = [("sessions_app", "0015_who_may_agree")]
    operations: ClassVar = [
        migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (DECISIONS, USE, TASKS, MOVES, ORIGINS, VIEW)
    ]
