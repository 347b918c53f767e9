"""The database's clock: the only one there is."""

from datetime import datetime
from typing import cast

from django.db import connection, models


class ClockTimestamp(models.Func):
    """The moment at which a row is read, rather than at which the transaction began."""

    function = "clock_timestamp"
    output_field = models.DateTimeField()


def database_now() -> datetime:
    """The moment, by the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cast(datetime, cursor.fetchone()[0])
