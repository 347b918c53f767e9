"""Examples in the API's document."""

from typing import Any

from drf_spectacular.utils import OpenApiExample

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"


def answered(name: str, value: Any, summary: str) -> OpenApiExample:
    """Something that is answered."""
    return OpenApiExample(name, value, summary=summary, response_only=True)


def sent(name: str, value: Any, summary: str, media_type: str = JSON) -> OpenApiExample:
    """Something that is sent."""
    return OpenApiExample(name, value, summary=summary, request_only=True, media_type=media_type)
