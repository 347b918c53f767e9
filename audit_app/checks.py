"""What `manage.py check --database default` finds of the trail."""

from collections.abc import Sequence
from typing import Any

from django.core import checks
from django.core.checks import CheckMessage
from django.db import connections

from orchestrator import roles

_MAY_SEAL = """
SELECT has_table_privilege(r.oid, c.oid, 'INSERT') FROM pg_roles r, pg_class c
WHERE r.rolname = %s AND c.oid = to_regclass('audit_seals')
"""


def service_writes_no_seals(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn where the service's role may write seals, since no role of the worker was given the right."""
    if "default" not in (databases or ()):
        return []
    with connections["default"].cursor() as cursor:
        cursor.execute(_MAY_SEAL, [roles.SERVICE])
        row = cursor.fetchone()
    if row != (True,):
        return []
    hint = "Make the role of the worker, and call audit_let_worker_seal() as the owner: docs/upgrading.md."
    return [checks.Warning("The role of the service may write seals.", hint=hint, id="audit.W001")]
