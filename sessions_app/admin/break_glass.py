"""The login by password, and its change, recorded: it goes past the identity provider."""

from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpResponse

from orchestrator import boundary
from orchestrator.admin.acting import actor_of, as_actor
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


class RecordedPasswordChange(PasswordChangeView):
    """No event, no other password."""

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        """Keep it, and end the person's other logins. Raises ServiceUnavailable where the event cannot be written."""
        keep, person = super().form_valid, form.user
        assert isinstance(person, Person)

        def change() -> HttpResponse:
            transitions.record_password_change(person, actor=actor_of(self.request))
            return keep(form)

        return boundary.write(change)
