"""What had or has to wait for its time stands apart from what never had to, so that no claim walks over it."""

from typing import ClassVar

from django.db import migrations, models

AT_ONCE = models.Q(("not_before__isnull", True), ("status", "pending"))
LATER = models.Q(("not_before__isnull", False), ("status", "pending"))
ORDER = ["tenant", "to_role", "-priority", "created_at", "id"]


class Migration(migrations.Migration):
    """Three indexes for claims instead of one."""

    dependencies: ClassVar = [("sessions_app", "0007_task_guards")]
    operations: ClassVar = [
        migrations.RemoveIndex(model_name="task", name="tasks_claim"),
        migrations.AddIndex(
            model_name="task", index=models.Index(fields=[*ORDER, "task_type"], condition=AT_ONCE, name="tasks_claim")
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                fields=["tenant", "to_role", "not_before", "task_type"], condition=LATER, name="tasks_claim_begun"
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                fields=[*ORDER, "not_before", "task_type"], condition=LATER, name="tasks_claim_many_begun"
            ),
        ),
    ]
