"""All forms of the desk that change an account at MultiMail, with valid fields. Tests
submit them in this order, in which each finds the row that it changes.
"""

from datetime import timedelta
from uuid import uuid4

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from approvals.models import Brake
from gateway import domains
from gateway.models import ApiKey, Domain, WebhookDelivery


def forms_at_multimail(account, person, monkeypatch):
    """Return the name of each address with its arguments, what is posted there, and the
    entry that it leaves.
    """
    box = account.mailbox
    world = account.world
    hook = world.listen("oversight.pending", url="https://elsewhere.example.org/hook")
    delivery = WebhookDelivery.objects.create(
        webhook=hook,
        state="failed",
        event_id="01E",
        event="oversight.pending",
        body=b"{}",
        trace="t",
    )
    agent = ApiKey.objects.get(name="Key agent")
    of_connection = {"connection_id": account.connection.pk}
    changed = {
        "display_name": "Other",
        "auto_cc": "",
        "auto_bcc": "",
        "signature_block": "",
        "default_gate_timing": "gate_first",
        "scheduling_enabled": "1",
    }
    # Nothing answers there, and no request leaves the machine.
    monkeypatch.setattr(settings, "DNS_SERVER", ("127.0.0.1", 9))
    monkeypatch.setattr(domains, "LIMIT_OF_ALL", 0.1)
    domain = Domain.objects.create(
        account=world.account,
        domain="shop.example",
        token="t",
        dkim_selector="s",
        dkim_verified_at=timezone.now(),
    )
    of_domain = of_connection | {"domain_id": domain.pk}
    key = of_connection | {"key_id": agent.pk}
    of_hook = of_connection | {"subscription_id": hook.pk}
    of_box = {"mailbox_id": box.pk}
    flood = Brake.objects.create(
        connection=account.connection,
        kind="key",
        what=f"key:{agent.pk}",
        name="agent",
        sent_by_key=agent.pk,
        window=timedelta(hours=1),
        cap=5,
    )
    return [
        ("pause-key-of-flood", {"brake_id": flood.pk}, {}, "api_key.paused"),
        ("pause-api-key", key, {"do": "resume"}, "api_key.resumed"),
        (
            "add-mailbox",
            {},
            {**of_connection, "connection": account.connection.pk, "address": "more"},
            "mailbox.created",
        ),
        ("mailbox-settings", of_box, changed, "mailbox.changed"),
        ("mailbox-mode", of_box, {"mode": "read_only"}, "mailbox.changed"),
        ("loosen-mailbox", of_box, {"to": "gated_all"}, "mailbox.loosened"),
        (
            "add-api-key",
            of_connection,
            {"name": "Bot", "scopes": ["read"]},
            "api_key.created",
        ),
        (
            "change-api-key",
            key,
            {"name": "Key agent", "scopes": ["read"]},
            "api_key.changed",
        ),
        ("api-key-owner", key, {"owner": str(person.pk)}, "api_key.owner_set"),
        ("revoke-api-key", key, {}, "api_key.revoked"),
        ("add-domain", of_connection, {"domain": "more.example"}, "domain.added"),
        ("rotate-domain", of_domain, {}, "domain.dkim_rotated"),
        ("verify-domain", of_domain, {}, "domain.looked_up"),
        ("delete-domain", of_domain, {}, "domain.removed"),
        (
            "add-webhook",
            of_connection,
            {
                "url": "https://x.example.org/h",
                "events": ["message.sent"],
            },
            "hook.registered",
        ),
        ("test-webhook", of_hook, {}, "hook.tested"),
        ("rotate-webhook", of_hook, {"overlap": "3600"}, "hook.rotated"),
        (
            "replay-delivery",
            of_hook | {"delivery_id": delivery.pk},
            {},
            "hook.replayed",
        ),
        ("delete-webhook", of_hook, {}, "hook.deleted"),
        ("delete-mailbox", of_box, {"address": box.address}, "mailbox.deleted"),
    ]


def post(client, name, kwargs, form):
    """Post a form; with a ticket, if it can be submitted only once."""
    form = {"oversight_mode": "gated_all", **form}
    if name in ("add-api-key", "add-webhook", "rotate-webhook"):
        form["ticket"] = uuid4().hex
    return client.post(reverse(name, kwargs=kwargs), form)
