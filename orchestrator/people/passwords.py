"""What a password must not be made of: words that whoever attacks this service tries first."""

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError

WORDS = ("orchestrator", "control plane", "agent", "approver", "auditor", "operator", "session", "approval", "admin")
_LETTERS_LEFT = 8


class NoContextWords:
    """Refuses a password of which little is left once the words of this service are taken out of it."""

    def validate(self, password: str, user: AbstractBaseUser | None = None) -> None:
        """Raises ValidationError."""
        left = password.lower()
        for word in WORDS:
            left = left.replace(word, "")
        if len(left) < len(password) and len(left) < _LETTERS_LEFT:
            raise ValidationError(self.get_help_text(), code="password_of_context_words")

    def get_help_text(self) -> str:
        """What the form says."""
        return "It must not be made of the words of this service, such as its name or a role."
