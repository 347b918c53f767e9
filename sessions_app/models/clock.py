"""The database's clock, as a column of a query."""

from typing import TypeVar, cast

from django.db import models

from sessions_app.models.recorded import Recorded

Row = TypeVar("Row", bound=Recorded)


class ClockTimestamp(models.Func):
    """The moment at which a row is read, rather than at which the transaction began."""

    function = "clock_timestamp"
    output_field = models.DateTimeField()


def with_clock(rows: models.QuerySet[Row]) -> models.QuerySet[Row]:
    """Return the rows of a query, each with the database's clock beside it as `now`."""
    return cast("models.QuerySet[Row]", rows.annotate(now=ClockTimestamp()))
