"""Subscriptions of people without a mail address were told to nobody: what lasts is told once there is an address."""

from typing import Any

from django.db import migrations


def forget(apps: Any, schema_editor: Any) -> None:
    untold = apps.get_model("messaging", "Subscription").objects.filter(owner__is_active=True, owner__email="")
    untold.update(told="", told_at=None, fingerprint="")


class Migration(migrations.Migration):
    dependencies = [
        ("messaging", "0060_messages_of_rollups"),
    ]

    operations = [migrations.RunPython(forget, migrations.RunPython.noop)]
