"""The work, to look at and to move: rows are picked here, and a transition is called."""

from orchestrator.admin.site import site
from orchestrator.people.models import Person
from sessions_app.admin.approval import ApprovalAdmin
from sessions_app.admin.break_glass import RecordedPasswordChange, RecordedPasswordForm
from sessions_app.admin.person import PersonAdmin
from sessions_app.admin.session import SessionAdmin
from sessions_app.admin.task import TaskAdmin
from sessions_app.models import Approval, Session, Task

site.register(Session, SessionAdmin)
site.register(Task, TaskAdmin)
site.register(Approval, ApprovalAdmin)
site.register(Person, PersonAdmin)
site.login_form = RecordedPasswordForm
site.password_change_view = RecordedPasswordChange
