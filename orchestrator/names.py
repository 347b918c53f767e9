"""Names of the service: roles, task types, tenants and subjects follow the same rules as the subjects of tokens."""

from bearer_tokens.spelling import MAX_LENGTH, is_clear, normal

__all__ = ["MAX_LENGTH", "is_clear", "normal"]
