"""The database's clock: the only one there is."""

from datetime import datetime
from typing import cast

from django.db import connection


def database_now() -> datetime:
    """The moment, by the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cast(datetime, cursor.fetchone()[0])
