"""Gives each account the domains that it already has mailboxes under: they were given by the operator."""

from django.db import migrations

from common.identifiers import ulid


def give_domains(apps, schema_editor):
    mailbox, domain = apps.get_model("gateway", "Mailbox"), apps.get_model("gateway", "Domain")
    for account_id, address in mailbox.objects.order_by("id").values_list("account_id", "address"):
        name = address.rpartition("@")[2]
        if not domain.objects.filter(domain=name, status="active").exists():
            domain.objects.create(id=ulid(), account_id=account_id, domain=name, status="active", token=ulid())


class Migration(migrations.Migration):
    dependencies = [("gateway", "0002_whole_api")]

    operations = [migrations.RunPython(give_domains, migrations.RunPython.noop)]
