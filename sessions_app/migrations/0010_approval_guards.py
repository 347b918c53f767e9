"""What the database itself says of approvals: nobody agrees to their own, what was agreed to stays, it is used once."""

from typing import ClassVar

from django.db import migrations

DECISIONS = """
ALTER TABLE approval_decisions ADD CONSTRAINT approval_decisions_approval_id_fkey
  FOREIGN KEY (approval_id) REFERENCES approvals (id) ON DELETE CASCADE;
ALTER TABLE approval_decisions ADD CONSTRAINT approval_decisions_not_by_requester
  CHECK ((decider_issuer, decider_subject) <> (requester_issuer, requester_subject));
ALTER TABLE approval_decisions ADD CONSTRAINT approval_decisions_not_for_requester
  CHECK ((decider_issuer, decider_subject) IS DISTINCT FROM (requester_for_issuer, requester_for_subject));
ALTER TABLE approval_decisions ADD CONSTRAINT approval_decisions_not_by_holder
  CHECK ((decider_issuer, decider_subject) IS DISTINCT FROM (holder_issuer, holder_subject));
ALTER TABLE approval_decisions ADD CONSTRAINT approval_decisions_not_for_holder
  CHECK ((decider_issuer, decider_subject) IS DISTINCT FROM (holder_for_issuer, holder_for_subject));

-- Who asked and who holds the task is not for the writer to say.
CREATE FUNCTION work_decision_is_of_another() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  SELECT a.created_by_issuer, a.created_by_subject, a.on_behalf_of_issuer, a.on_behalf_of_subject,
         t.lease_issuer, t.lease_subject, t.lease_for_issuer, t.lease_for_subject
    INTO NEW.requester_issuer, NEW.requester_subject, NEW.requester_for_issuer, NEW.requester_for_subject,
         NEW.holder_issuer, NEW.holder_subject, NEW.holder_for_issuer, NEW.holder_for_subject
    FROM approvals a JOIN tasks t ON t.id = a.task_id
    WHERE a.id = NEW.approval_id AND a.status = 'pending' AND a.expires_at > now();
  IF NOT FOUND THEN
    RAISE EXCEPTION 'approval % is not open', NEW.approval_id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER approval_decisions_of_another BEFORE INSERT ON approval_decisions
  FOR EACH ROW EXECUTE FUNCTION work_decision_is_of_another();
ALTER TABLE approval_decisions ENABLE ALWAYS TRIGGER approval_decisions_of_another;

CREATE FUNCTION work_decision_stays() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    -- Only along with its approval, whose own trail ends with an event.
    PERFORM 1 FROM approvals WHERE id = OLD.approval_id;
    IF NOT FOUND THEN RETURN OLD; END IF;
  END IF;
  RAISE EXCEPTION 'a decision stays as it was made: % is refused', TG_OP USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER approval_decisions_stay BEFORE UPDATE OR DELETE ON approval_decisions
  FOR EACH ROW EXECUTE FUNCTION work_decision_stays();
CREATE TRIGGER approval_decisions_no_truncate BEFORE TRUNCATE ON approval_decisions
  FOR EACH STATEMENT EXECUTE FUNCTION work_refuse_truncate();
ALTER TABLE approval_decisions ENABLE ALWAYS TRIGGER approval_decisions_stay;
ALTER TABLE approval_decisions ENABLE ALWAYS TRIGGER approval_decisions_no_truncate;
GRANT SELECT, INSERT ON approval_decisions TO orchestrator_service;
"""

APPROVALS = """
ALTER TABLE approvals ADD CONSTRAINT approvals_action_digest CHECK (octet_length(action_digest) = 32);

CREATE FUNCTION work_approval_keeps_its_question() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  IF (NEW.task_id, NEW.approver_role, NEW.reason, NEW.action, NEW.action_digest, NEW.required_approvals,
      NEW.expires_at, NEW.blocks, NEW.created_by_issuer, NEW.created_by_subject, NEW.on_behalf_of_issuer,
      NEW.on_behalf_of_subject)
     IS DISTINCT FROM
     (OLD.task_id, OLD.approver_role, OLD.reason, OLD.action, OLD.action_digest, OLD.required_approvals,
      OLD.expires_at, OLD.blocks, OLD.created_by_issuer, OLD.created_by_subject, OLD.on_behalf_of_issuer,
      OLD.on_behalf_of_subject) THEN
    RAISE EXCEPTION 'approval %: what is asked does not change', NEW.id USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.consumed_at IS NOT NULL AND NEW.consumed_at IS DISTINCT FROM OLD.consumed_at THEN
    RAISE EXCEPTION 'approval % is consumed once', NEW.id USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER approvals_keep_their_question BEFORE UPDATE ON approvals
  FOR EACH ROW EXECUTE FUNCTION work_approval_keeps_its_question();
ALTER TABLE approvals ENABLE ALWAYS TRIGGER approvals_keep_their_question;

-- At COMMIT: nothing is approved or rejected, and nobody counted, but by the decisions of that many people; and no
-- decision is there that does not count.
CREATE FUNCTION work_approval_is_agreed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE asked approvals; agreed int; refused int;
BEGIN
  IF TG_TABLE_NAME = 'approvals' THEN
    SELECT * INTO asked FROM approvals WHERE id = NEW.id;
  ELSE
    SELECT * INTO asked FROM approvals WHERE id = NEW.approval_id;
  END IF;
  IF NOT FOUND THEN RETURN NULL; END IF;
  SELECT count(*) FILTER (WHERE decision = 'approved'), count(*) FILTER (WHERE decision = 'rejected')
    INTO agreed, refused FROM approval_decisions WHERE approval_id = asked.id;
  IF agreed <> asked.granted OR (asked.status = 'approved') <> (agreed >= asked.required_approvals AND refused = 0)
     OR (asked.status = 'rejected') <> (refused > 0) THEN
    RAISE EXCEPTION 'approval % is not what was decided', asked.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER approvals_agreed AFTER INSERT OR UPDATE ON approvals
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION work_approval_is_agreed();
CREATE CONSTRAINT TRIGGER approval_decisions_count AFTER INSERT ON approval_decisions
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION work_approval_is_agreed();
ALTER TABLE approval_decisions ENABLE ALWAYS TRIGGER approval_decisions_count;
ALTER TABLE approvals ENABLE ALWAYS TRIGGER approvals_agreed;
"""

# The way out of `blocked` to work is by agreement alone.
UNBLOCKED = """
CREATE FUNCTION work_unblocked_by_agreement() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM 1 FROM approvals WHERE task_id = NEW.id AND status = 'pending';
  IF FOUND THEN
    RAISE EXCEPTION 'task % waits for an approval', NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  PERFORM 1 FROM approvals WHERE task_id = NEW.id AND status = 'approved';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'nobody agreed to task %', NEW.id USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER tasks_unblocked AFTER UPDATE ON tasks
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  WHEN (OLD.status = 'blocked' AND NEW.status NOT IN ('blocked', 'failed', 'cancelled'))
  EXECUTE FUNCTION work_unblocked_by_agreement();
ALTER TABLE tasks ENABLE ALWAYS TRIGGER tasks_unblocked;
"""

# An approval past its time awaits nobody, whether or not the sweep has come by.
INBOX = """
DROP VIEW pending_approvals;
CREATE VIEW pending_approvals AS
  SELECT a.*, t.description, t.from_role, t.to_role
  FROM approvals a JOIN tasks t ON t.id = a.task_id WHERE a.status = 'pending' AND a.expires_at > statement_timestamp();
GRANT SELECT ON pending_approvals TO orchestrator_service;
"""


class Migration(migrations.Migration):
    """Triggers, checks, grants and the view of approvals."""

    dependencies: ClassVar = [("sessions_app", "0009_approvals")]
    operations: ClassVar = [
        migrations.RunSQL(sql, migrations.RunSQL.noop) for sql in (DECISIONS, APPROVALS, UNBLOCKED, INBOX)
    ]
