"""/tasks/claim, and what the holder of a task calls."""

import time
from collections.abc import Collection
from datetime import timedelta
from itertools import product
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator import boundary, conditional
from orchestrator.actors import Role
from orchestrator.hang_ups import CallerHungUp
from orchestrator.problems import InvalidRequest
from orchestrator.views import ApiViewSet, one, read_body, read_id
from orchestrator.waiting import TooManyWait
from sessions_app import permissions, queue
from sessions_app.models import Task
from sessions_app.quotas import HELD_LEASES, counts
from sessions_app.serializers.lease import (
    LEASE_SECONDS,
    ClaimBody,
    CompleteBody,
    FailBody,
    HeartbeatBody,
    ReleaseBody,
    granted_out,
)
from sessions_app.serializers.task import lease_out, task_out
from sessions_app.transitions import lease
from sessions_app.transitions.refusing import remembering
from sessions_app.views.waiting import TRY_AGAIN
from sessions_app.waiting import Claimable, waiters


class Holding(ApiViewSet):
    """Tasks, to those who do them."""

    opens_boundary = ("claim",)
    needed_roles: ClassVar = dict.fromkeys(
        ("claim", "heartbeat", "complete", "fail", "release"), (Role.AGENT, Role.OPERATOR)
    )

    @action(detail=False, methods=["post"])
    def claim(self, request: Request) -> Response:
        """POST /tasks/claim"""
        body = read_body(ClaimBody, request)
        roles = list(dict.fromkeys(body.get("roles") or sorted(self.actor.agent_roles)))
        permissions.insist_may_claim(self.actor, roles)
        if not roles:
            raise InvalidRequest([("roles", "Say for which: you have no agent role.")])
        grants, headers = self._claim(body, roles, body.get("task_types"))
        return Response({"tasks": [granted_out(grant.task, grant.token) for grant in grants]}, headers=headers)

    def _claim(
        self, body: dict[str, Any], roles: Collection[str], task_types: Collection[str] | None
    ) -> tuple[list[lease.Grant], dict[str, str]]:
        """Return what there is now or comes in time. Each look is a transaction of its own; no wait is inside one.

        A caller that has hung up takes no task.
        """
        boundary.read(lambda: counts.require(HELD_LEASES, self.actor.tenant))
        until = time.monotonic() + (body.get("wait_seconds") or 0)
        most = body.get("max") or 1
        asked = [(self.actor.tenant, *one) for one in product(roles, task_types or (None,))]

        def take(most: int = most, far: int = queue.NEAR) -> list[lease.Grant]:
            rows = queue.claimable(self.actor, roles, task_types, most, far=far)
            return self._take(rows, timedelta(seconds=body.get("lease_seconds") or LEASE_SECONDS))

        grants: list[lease.Grant] = []
        try:
            grants = take()
            if len(grants) < most and boundary.read(lambda: queue.is_long(asked)):
                grants += take(most - len(grants), queue.FAR)
            if grants or until <= time.monotonic():
                return grants, {}
            with waiters().place([Claimable(*one) for one in asked], self.actor.identity, self.has_hung_up) as sleep:
                while not grants and (left := until - time.monotonic()) > 0:
                    sleep(left)
                    grants = take()
        except (TooManyWait, CallerHungUp):
            return grants, {} if grants else dict(TRY_AGAIN)
        return grants, {}

    def _take(self, rows: QuerySet[Task], lasting: timedelta) -> list[lease.Grant]:
        """Claim the rows in one transaction, unless the caller hangs up before its commit. Raises CallerHungUp."""

        def claim() -> list[lease.Grant]:
            grants = lease.claim(rows, actor=self.actor, lasting=lasting)
            if grants and self.has_hung_up():
                raise CallerHungUp
            return grants

        if self.has_hung_up():
            raise CallerHungUp
        grants = boundary.write(claim)
        counts.add(HELD_LEASES, self.actor.tenant, len(grants))
        return grants

    @action(detail=True, methods=["post"])
    def heartbeat(self, request: Request, pk: str) -> Response:
        """POST /tasks/{id}/heartbeat"""
        body, if_match = read_body(HeartbeatBody, request), conditional.if_match(request._request)
        task = lease.heartbeat(
            self._worked(pk, "heartbeat"),
            token=body["lease_token"],
            progress=body.get("progress"),
            actor=self.actor,
            if_match=if_match,
        )
        return Response({"lease": lease_out(task), "cancel_requested": task.cancel_requested})

    @action(detail=True, methods=["post"])
    def complete(self, request: Request, pk: str) -> Response:
        """POST /tasks/{id}/complete"""
        body, if_match = read_body(CompleteBody, request), conditional.if_match(request._request)
        task = lease.complete(
            self._worked(pk, "complete"),
            token=body["lease_token"],
            output=body.get("output"),
            actor=self.actor,
            if_match=if_match,
        )
        return one(task_out(task))

    @action(detail=True, methods=["post"])
    def fail(self, request: Request, pk: str) -> Response:
        """POST /tasks/{id}/fail"""
        body, if_match = read_body(FailBody, request), conditional.if_match(request._request)
        task = lease.fail(
            self._worked(pk, "fail"),
            token=body["lease_token"],
            error=body["error"],
            retryable=body.get("retryable") is not False,
            actor=self.actor,
            if_match=if_match,
        )
        return one(task_out(task))

    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: str) -> Response:
        """POST /tasks/{id}/release"""
        body, if_match = read_body(ReleaseBody, request), conditional.if_match(request._request)
        task = lease.release(
            self._worked(pk, "release"), token=body["lease_token"], actor=self.actor, if_match=if_match
        )
        return one(task_out(task))

    def _worked(self, pk: str, attempted: str) -> Task:
        """A task that the caller may work on. Whether they hold it is judged under its lock."""
        task = permissions.find(Task, read_id(pk, "task"), self.actor)
        with remembering(task, attempted, actor=self.actor):
            permissions.insist_may_work(self.actor, task)
        return task
