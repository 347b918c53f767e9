"""What was sent to the database, statement by statement."""

import re
from collections.abc import Iterable, Mapping

_AND_ITS_EVENT = re.compile("; (?=INSERT INTO audit_events )")


def first_words(messages: Iterable[Mapping[str, str]]) -> list[str]:
    """The first word of each statement, as Django captured what was sent: a row and its event are one message."""
    return [one.split()[0] for message in messages for one in _AND_ITS_EVENT.split(message["sql"])]
