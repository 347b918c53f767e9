"""The login by password, recorded: it goes past the identity provider."""

from django.contrib.auth.models import AbstractBaseUser

from orchestrator import boundary
from orchestrator.admin.acting import as_actor
from orchestrator.people.break_glass import PasswordForm
from orchestrator.people.models import Person
from sessions_app.transitions import person as transitions


class RecordedPasswordForm(PasswordForm):
    """No event, no login."""

    def confirm_login_allowed(self, user: AbstractBaseUser) -> None:
        """Staff alone. Raises ServiceUnavailable where the event cannot be written."""
        super().confirm_login_allowed(user)
        assert isinstance(user, Person)
        actor = as_actor(user, self.request)
        boundary.write(lambda: transitions.record_password_login(user, actor=actor))
