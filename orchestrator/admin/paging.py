"""Lists that cost the same however long they are: a fixed order, pages within reach, a count no further than they."""

import json
from collections.abc import Collection
from functools import cached_property
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest

PAGES = 100
"""How many pages a list has at most: an offset costs what it skips."""


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # not a generic class at run time
    """Counts the rows that its pages can show, and estimates beyond."""

    template_name = "orchestrator/pagination.html"

    @cached_property
    def reach(self) -> int:
        """How many rows the pages can show."""
        return PAGES * self.per_page

    @cached_property
    def count(self) -> int:
        """The rows within reach, and one if there are more."""
        rows: QuerySet[Model] = self.object_list  # type: ignore[assignment]
        return rows.order_by().values("pk")[: self.reach + 1].count()

    @cached_property
    def num_pages(self) -> int:
        """The pages within reach."""
        return min(super().num_pages, PAGES)

    @property
    def sentence(self) -> str:
        """How many rows there are, for people."""
        rows: QuerySet[Model] = self.object_list  # type: ignore[assignment]
        one, many = rows.model._meta.verbose_name, rows.model._meta.verbose_name_plural
        if self.count <= self.reach:
            return f"{self.count:,} {one if self.count == 1 else many}"
        return (
            f"About {max(estimate(rows), self.count):,} {many}. These pages reach the newest {self.reach:,}:"
            " filter or search for the others."
        )


def estimate(rows: QuerySet[Any]) -> int:
    """How many rows there are by the planner's statistics, which costs the same for any number."""
    plan = json.loads(rows.order_by().values("pk").explain(format="json"))
    return int(plan[0]["Plan"]["Plan Rows"])


class BoundedList(ChangeList):
    """Rows by page, never all of them, in the one order that has an index."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Whatever the query says."""
        return list(self.model_admin.ordering or ())

    def get_queryset(self, request: HttpRequest, exclude_parameters: list[str | None] | None = None) -> QuerySet[Any]:
        """Without the columns that only a row's own page shows."""
        columns: Collection[str] = self.model_admin.list_defer  # type: ignore[attr-defined]  # Looking has it
        return super().get_queryset(request, exclude_parameters).defer(*columns)

    def get_results(self, request: HttpRequest) -> None:
        """The page asked for, or the nearest there is."""
        self.paginator = self.model_admin.get_paginator(request, self.queryset, self.list_per_page)
        page = self.paginator.get_page(self.page_num)
        self.page_num, self.result_list = page.number, page.object_list
        self.result_count, self.multi_page = self.paginator.count, self.paginator.num_pages > 1
        self.can_show_all = self.show_full_result_count = False
        self.full_result_count = self.result_count
        self.show_admin_actions = True
