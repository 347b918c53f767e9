"""Give people chains of events: the id under which the trail knows them, how many events, and the hash of the last."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Three columns. Rows that are there, and those that the version before adds, have no chain yet: version 0."""

    dependencies: ClassVar = [("people", "0007_who_is_the_same")]
    operations: ClassVar = [
        migrations.AddField("person", "trail_id", models.UUIDField(null=True, editable=False)),
        migrations.AddField("person", "version", models.IntegerField(default=0, db_default=0, editable=False)),
        migrations.AddField("person", "audit_head", models.BinaryField(null=True)),
    ]
