"""The database's clock, as a column of a query."""

from django.db import models


class ClockTimestamp(models.Func):
    """The moment at which a row is read, rather than at which the transaction began."""

    function = "clock_timestamp"
    output_field = models.DateTimeField()
