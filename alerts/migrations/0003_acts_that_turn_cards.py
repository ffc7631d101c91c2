"""Existing routes name their acts one by one, so they lack those that turn cards since.

Without them a card would go on saying "Outcome unknown" after a person said what became of it, and "(no subject)" after
a late event told the subject.
"""

from django.db import migrations


def complete(apps, schema_editor):
    for route in apps.get_model("alerts", "Route").objects.exclude(actions=[]):
        # The one makes no card of its own; the other was recorded as superseded before it had a name.
        wanted = ["message.named", *(["decision.without_effect"] if "decision.superseded" in route.actions else [])]
        if missing := [name for name in wanted if name not in route.actions]:
            route.actions = [*route.actions, *missing]
            route.save(update_fields=["actions"])


class Migration(migrations.Migration):
    dependencies = [("alerts", "0002_initial")]

    operations = [migrations.RunPython(complete, migrations.RunPython.noop)]
