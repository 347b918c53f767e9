"""The admin: what there is to look at."""

from typing import Any

from django.db.models import Model
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from unfold.sites import UnfoldAdminSite

from orchestrator.admin.login_page import LoginPage


class Site(LoginPage, UnfoldAdminSite):  # type: ignore[misc]  # unfold has no types
    """The theme's site, without a list of what people edited: nobody edits, and what happened is in the trail."""

    index_template = "orchestrator/admin_index.html"
    index_title = "Overview"

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[dict[str, Any]]:
        """The apps by their names, as headings."""
        return [{**app, "name": app["name"].capitalize()} for app in super().get_app_list(request, app_label)]


site = Site(name="admin")


def page_of(model: type[Model] | None, pk: Any) -> str | None:
    """Where a row is looked at, if it is."""
    if model is None:
        return None
    try:
        return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[pk])
    except NoReverseMatch:
        return None


def page_of_subject(noun: str | None, pk: Any) -> str | None:
    """Where the subject of an event is looked at: the trail names it by its noun, as its model does."""
    return page_of(next((model for model in site._registry if getattr(model, "NOUN", None) == noun), None), pk)
