"""Verifying rules: who decided, how many, who used a grant and who ended a lease, judged again from the events.

The guards of the database judge each write. Whoever lifts them, breaks a rule and puts them back leaves events that are
true to their hashes, and that this module finds.
"""

from collections.abc import Iterator
from uuid import UUID

from audit_app.chains import CLOCK_SLACK
from audit_app.findings import MOST, Finding
from audit_app.snapshot import Raw

# From when until when an identity was linked with another, which stands for the person.
_LINKS = """
links AS MATERIALIZED (
  SELECT tenant, who, main, since, until FROM (
    SELECT tenant, event_type, metadata #> '{changes,person}' AS who, metadata #> '{changes,same_as}' AS main,
      timestamp AS since, coalesce(lead(timestamp) OVER (
        PARTITION BY tenant, metadata #> '{changes,person}' ORDER BY timestamp), 'infinity') AS until
    FROM audit_events WHERE event_type IN ('person.linked', 'person.unlinked')
  ) AS changed WHERE event_type = 'person.linked')"""
_PERSON = """
coalesce((SELECT l.main FROM links l WHERE l.tenant = {of}.tenant AND l.who = {who}
  AND {of}.timestamp >= l.since AND {of}.timestamp < l.until LIMIT 1), {who})"""
_IDENTITY = "jsonb_build_object('issuer', {of}.{column}_issuer, 'subject', {of}.{column}_subject)"


def _person(of: str, column: str = "actor", at: str = "") -> str:
    """Return the SQL for the person behind an identity in the columns of a row, at the time of a row."""
    who = _IDENTITY.format(of=of, column=column)
    return _PERSON.format(of=at or of, who=who)


_ASKED = """
asked AS MATERIALIZED (
  SELECT subject_id, tenant, timestamp, actor_issuer, actor_subject, on_behalf_of_issuer, on_behalf_of_subject,
    (metadata #>> '{changes,task_id}') AS task_id, (metadata #>> '{changes,session_id}') AS session_id,
    metadata #>> '{changes,approver_role}' AS approver_role, metadata #>> '{changes,action_digest}' AS action_digest,
    metadata #> '{changes,required_approvals}' AS required_approvals,
    metadata #> '{changes,use_within_seconds}' AS use_within_seconds,
    coalesce(metadata #>> '{changes,reopens_id}', metadata #>> '{changes,replaces_id}') AS follows,
    -- Requests of earlier versions, by the names of their members, were decided under fewer rules.
    metadata -> 'changes' ? 'use_within_seconds' AS is_strict
  FROM audit_events WHERE subject_type = 'approval' AND event_type = 'approval.created' AND seq = 1),
votes AS MATERIALIZED (
  SELECT e.subject_id, e.seq, e.id, e.event_type, e.tenant, e.timestamp, e.actor_issuer, e.actor_subject, e.actor_kind
  FROM audit_events e WHERE e.subject_type = 'approval' AND e.seq IS NOT NULL
    AND e.event_type IN ('approval.voted', 'approval.approved', 'approval.rejected'))"""

# Each lease: from its claim until the next event that ends it or claims the task again.
_LEASES = """
leases AS MATERIALIZED (
  SELECT subject_id::text AS task_id, tenant, actor_issuer, actor_subject, on_behalf_of_issuer, on_behalf_of_subject,
    timestamp, until FROM (
    SELECT subject_id, tenant, event_type, actor_issuer, actor_subject, on_behalf_of_issuer, on_behalf_of_subject,
      timestamp, coalesce(lead(timestamp) OVER (PARTITION BY subject_id ORDER BY seq), 'infinity') AS until
    FROM audit_events WHERE subject_type = 'task' AND seq IS NOT NULL
      AND (event_type = 'task.claimed' OR (from_status = 'active' AND to_status IS DISTINCT FROM 'active'))
  ) AS steps WHERE event_type = 'task.claimed')"""

# Whose matter a request is: a list of identities for each vote, with those of the rules that the request is under.
_OWN_MATTER = f"""
WITH RECURSIVE {_LINKS}, {_ASKED}, {_LEASES},
made AS MATERIALIZED (
  SELECT subject_id::text AS id, actor_issuer, actor_subject, on_behalf_of_issuer, on_behalf_of_subject,
    metadata #>> '{{changes,retry_of_id}}' AS retry_of_id
  FROM audit_events WHERE subject_type IN ('task', 'session') AND seq = 1
    AND event_type IN ('task.created', 'session.created')),
line AS (
  SELECT q.task_id AS task_id, q.task_id AS earlier FROM asked q WHERE q.is_strict AND q.task_id IS NOT NULL
  UNION
  SELECT line.task_id, made.retry_of_id FROM line JOIN made ON made.id = line.earlier
    WHERE made.retry_of_id IS NOT NULL),
parties AS (
  SELECT subject_id, '-infinity'::timestamptz AS since, actor_issuer, actor_subject, on_behalf_of_issuer,
    on_behalf_of_subject FROM asked
  UNION ALL
  SELECT q.subject_id, m.timestamp, m.actor_issuer, m.actor_subject, m.on_behalf_of_issuer, m.on_behalf_of_subject
    FROM asked q JOIN line ON line.task_id = q.task_id JOIN leases m ON m.task_id = line.earlier WHERE q.is_strict
  UNION ALL
  SELECT q.subject_id, '-infinity', m.actor_issuer, m.actor_subject, m.on_behalf_of_issuer, m.on_behalf_of_subject
    FROM asked q JOIN line ON line.task_id = q.task_id JOIN made m ON m.id = line.earlier WHERE q.is_strict
  UNION ALL
  SELECT q.subject_id, '-infinity', m.actor_issuer, m.actor_subject, m.on_behalf_of_issuer, m.on_behalf_of_subject
    FROM asked q JOIN made m ON m.id = q.session_id WHERE q.is_strict
  UNION ALL
  SELECT q.subject_id, m.timestamp, m.actor_issuer, m.actor_subject, m.on_behalf_of_issuer, m.on_behalf_of_subject
    FROM asked q JOIN asked m ON coalesce(m.task_id, m.session_id) = coalesce(q.task_id, q.session_id)
      AND m.subject_id <> q.subject_id AND m.approver_role = q.approver_role
      AND m.action_digest IS NOT DISTINCT FROM q.action_digest
    WHERE q.is_strict
  UNION ALL
  SELECT q.subject_id, '-infinity', m.actor_issuer, m.actor_subject, m.on_behalf_of_issuer, m.on_behalf_of_subject
    FROM asked q JOIN asked m ON m.subject_id::text = q.follows WHERE q.is_strict)
SELECT DISTINCT v.subject_id, v.seq, v.id FROM votes v LEFT JOIN parties p
  ON p.subject_id = v.subject_id AND p.since <= v.timestamp
  AND {_person("v")} IN ({_person("p", at="v")}, {_person("p", "on_behalf_of", at="v")})
WHERE (%(only)s::uuid IS NULL OR v.subject_id = %(only)s) AND (v.actor_kind <> 'person' OR p.subject_id IS NOT NULL
  -- Under the rules of earlier versions, who held the task at that time.
  OR EXISTS (SELECT FROM asked q JOIN leases m ON m.task_id = q.task_id
    WHERE q.subject_id = v.subject_id AND m.timestamp <= v.timestamp AND m.until > v.timestamp
    AND {_IDENTITY.format(of="v", column="actor")}
      IN ({_IDENTITY.format(of="m", column="actor")}, {_IDENTITY.format(of="m", column="on_behalf_of")})))
ORDER BY v.subject_id, v.seq LIMIT %(most)s"""

# An approval that was set aside before does not count. A list of people that is told as its digest is not judged here.
_QUORUM = f"""
WITH {_LINKS}, {_ASKED},
aside AS MATERIALIZED (
  SELECT subject_id, seq, metadata #> '{{changes,set_aside}}' AS people FROM audit_events
  WHERE subject_type = 'approval' AND seq IS NOT NULL
    AND event_type IN ('approval.decision_withdrawn', 'approval.decision_set_aside'))
SELECT a.subject_id, a.seq, a.id FROM votes a JOIN asked q USING (subject_id)
WHERE a.event_type = 'approval.approved' AND (%(only)s::uuid IS NULL OR a.subject_id = %(only)s)
  AND NOT EXISTS (SELECT FROM aside s WHERE s.subject_id = a.subject_id AND jsonb_typeof(s.people) <> 'array')
  AND to_jsonb((
    SELECT count(DISTINCT {_person("v", at="a")}) FROM votes v
    WHERE v.subject_id = a.subject_id AND v.seq <= a.seq AND v.event_type <> 'approval.rejected'
      AND NOT EXISTS (SELECT FROM aside s WHERE s.subject_id = v.subject_id AND s.seq BETWEEN v.seq AND a.seq
        AND s.people @> jsonb_build_array({_IDENTITY.format(of="v", column="actor")}))
  )) < coalesce(q.required_approvals, '1')
ORDER BY a.subject_id, a.seq LIMIT %(most)s"""

# A grant is used once, within its time, by who requested it or holds the task. One that is used along with another, or
# that follows another, is not judged by who used it. The clock may have been set back between the claim and the use.
_USE = f"""
WITH {_ASKED}, {_LEASES},
used AS (
  SELECT *, row_number() OVER (PARTITION BY subject_id ORDER BY seq) AS nth FROM audit_events
  WHERE subject_type = 'approval' AND event_type = 'approval.consumed' AND seq IS NOT NULL)
SELECT u.subject_id, u.seq, u.id FROM used u JOIN asked q USING (subject_id)
LEFT JOIN votes a ON a.subject_id = u.subject_id AND a.event_type = 'approval.approved' AND a.seq < u.seq
WHERE (%(only)s::uuid IS NULL OR u.subject_id = %(only)s) AND (u.nth > 1 OR a.id IS NULL
  -- A forged event may say anything: only what can be computed is.
  OR CASE WHEN q.use_within_seconds BETWEEN '0' AND '2592000'
      AND a.timestamp BETWEEN '0001-01-01 00:00Z' AND '9999-01-01 00:00Z'
    THEN u.timestamp > a.timestamp + make_interval(secs => q.use_within_seconds::float8)
    ELSE jsonb_typeof(q.use_within_seconds) = 'number' END
  OR (u.cause IS NULL AND q.follows IS NULL AND (u.actor_issuer, u.actor_subject) <> (q.actor_issuer, q.actor_subject)
    AND NOT EXISTS (SELECT FROM leases m WHERE m.task_id = q.task_id
      AND (m.actor_issuer, m.actor_subject) = (u.actor_issuer, u.actor_subject)
      AND m.timestamp <= u.timestamp + %(slack)s AND m.until > u.timestamp - %(slack)s)))
ORDER BY u.subject_id, u.seq LIMIT %(most)s"""

# The epochs of the claims of a task count up from one. Only its holder completes or releases it, and nobody who decided
# about it holds it.
_HOLDERS = f"""
WITH {_ASKED},
steps AS (
  SELECT subject_id, seq, id, event_type, timestamp, actor_issuer, actor_subject, on_behalf_of_issuer,
    on_behalf_of_subject, metadata #>> '{{changes,lease_epoch}}' AS told,
    count(*) FILTER (WHERE event_type = 'task.claimed') OVER (PARTITION BY subject_id ORDER BY seq) AS epoch
  FROM audit_events WHERE subject_type = 'task' AND seq IS NOT NULL
    AND event_type IN ('task.claimed', 'task.completed', 'task.released')),
decided AS (
  SELECT DISTINCT q.task_id, v.actor_issuer, v.actor_subject, v.timestamp FROM votes v JOIN asked q USING (subject_id)
  WHERE q.task_id IS NOT NULL)
SELECT s.subject_id, s.seq, s.id FROM steps s
LEFT JOIN steps c ON c.subject_id = s.subject_id AND c.epoch = s.epoch AND c.event_type = 'task.claimed'
WHERE (%(only)s::uuid IS NULL OR s.subject_id = %(only)s) AND (
  (s.event_type = 'task.claimed' AND (s.told IS DISTINCT FROM s.epoch::text OR EXISTS (
    SELECT FROM decided d WHERE d.task_id = s.subject_id::text AND d.timestamp < s.timestamp
      AND (d.actor_issuer, d.actor_subject) IN
        ((s.actor_issuer, s.actor_subject), (s.on_behalf_of_issuer, s.on_behalf_of_subject)))))
  OR (s.event_type <> 'task.claimed' AND (s.actor_issuer, s.actor_subject, s.on_behalf_of_issuer,
      s.on_behalf_of_subject) IS DISTINCT FROM (c.actor_issuer, c.actor_subject, c.on_behalf_of_issuer,
      c.on_behalf_of_subject)))
ORDER BY s.subject_id, s.seq LIMIT %(most)s"""

_RULES = (
    ("own-matter", "approval", _OWN_MATTER),
    ("quorum", "approval", _QUORUM),
    ("use", "approval", _USE),
    ("holder", "task", _HOLDERS),
)


def check_rules(connection: Raw, only: tuple[str, UUID] | None) -> Iterator[Finding]:
    """Find the events by which a rule was broken, of all subjects or of one."""
    noun_asked, pk_asked = only or (None, None)
    values = {"only": pk_asked, "most": MOST, "slack": CLOCK_SLACK}
    for kind, noun, broken in _RULES:
        if noun_asked not in (None, noun):
            continue
        for subject_id, seq, pk in connection.execute(broken, values).fetchall():
            yield Finding(kind, noun, subject_id, seq, pk)
