"""Ledger entries that `test_permissions.py` does not cover: accounts at MultiMail, tasks, and the lists."""

import re
from datetime import timedelta

import pytest
from django.conf import settings as _settings
from django.db.models.functions import Now
from django.urls import reverse

from approvals.models import Decision
from audit.actions import SETTINGS
from gateway.models import ApiKey, Domain, WebhookDelivery
from mirror.models import Brake, Connection, Mailbox, Message
from policy.models import GateList
from tests.acts import (
    AT_MULTIMAIL,
    NO_ACTS,
    PROVED,
    PROVED_TASKS,
    QUIET_TASKS,
    READS,
    last_entry,
    told_since,
    what_told_lacks,
)
from tests.doors import DOORS, TASKS
from tests.factories import make_connection, make_message, pending_row, rolled_back
from tests.integration.deciding import decide, make_due
from tests.integration.test_permissions import tasks
from tests.integration.test_unheard_of import READ, hear, letter

pytestmark = pytest.mark.django_db

HERE = _settings.BASE_DIR / "tests" / "integration"


def test_every_url_that_changes_an_account_at_multimail_leaves_an_entry(signed_in, admin, account, settings):
    client, box, world = signed_in(admin), account.mailbox, account.world
    hook = world.listen("oversight.pending", url="https://elsewhere.example.org/hook")
    sent = WebhookDelivery.objects.create(
        webhook=hook, state="failed", event_id="01E", event="oversight.pending", body=b"{}", trace="t"
    )
    agent = ApiKey.objects.get(name="Key agent")
    at = {"connection_id": account.connection.pk}
    changed = {"display_name": "Other", "auto_cc": "", "auto_bcc": "", "signature_block": "", "simplify_html": "1"}
    changed |= {"default_gate_timing": "gate_first", "scheduling_enabled": "1"}
    # Nothing answers there, and no request leaves the machine.
    settings.DNS_SERVER = ("127.0.0.1", 9)
    domain = Domain.objects.create(account=world.account, domain="shop.example", token="t")
    of_domain = at | {"domain_id": domain.pk}
    key, of_hook, of_box = at | {"key_id": agent.pk}, at | {"subscription_id": hook.pk}, {"mailbox_id": box.pk}
    flood = Brake.objects.create(
        connection=account.connection,
        kind="key",
        what=f"key:{agent.pk}",
        name="agent",
        sent_by_key=agent.pk,
        window=timedelta(hours=1),
        cap=5,
    )
    forms = [
        ("connection-fingerprint", at, {"required": "1"}, "connection.changed"),
        ("pause-key-of-flood", {"brake_id": flood.pk}, {}, "api_key.paused"),
        ("pause-api-key", key, {"do": "resume"}, "api_key.resumed"),
        ("add-mailbox", {}, {**at, "connection": account.connection.pk, "address": "more"}, "mailbox.created"),
        ("mailbox-settings", of_box, changed, "mailbox.changed"),
        ("mailbox-mode", of_box, {"mode": "read_only"}, "mailbox.changed"),
        ("loosen-mailbox", of_box, {"to": "gated_all"}, "mailbox.loosened"),
        ("add-api-key", at, {"name": "Bot", "scopes": ["read"]}, "api_key.created"),
        ("change-api-key", key, {"name": "Key agent", "scopes": ["read"]}, "api_key.changed"),
        ("api-key-owner", key, {"owner": str(admin.pk)}, "api_key.owner_set"),
        ("revoke-api-key", key, {}, "api_key.revoked"),
        ("add-domain", at, {"domain": "more.example"}, "domain.added"),
        ("rotate-domain", of_domain, {}, "domain.dkim_rotated"),
        ("verify-domain", of_domain, {}, "domain.looked_up"),
        ("delete-domain", of_domain, {}, "domain.removed"),
        (
            *("add-webhook", at),
            {"name": "Shop", "url": "https://x.example.org/h", "events": ["message.sent"]},
            "hook.registered",
        ),
        ("rename-webhook", of_hook, {"name": "Billing"}, "hook.renamed"),
        ("test-webhook", of_hook, {}, "hook.tested"),
        ("rotate-webhook", of_hook, {"overlap": "3600"}, "hook.rotated"),
        ("replay-delivery", of_hook | {"delivery_id": sent.pk}, {}, "hook.replayed"),
        ("delete-webhook", of_hook, {}, "hook.deleted"),
        ("delete-mailbox", of_box, {"address": box.address}, "mailbox.deleted"),
    ]
    assert {name for name, *_ in forms} == AT_MULTIMAIL
    wrong = {}
    for name, kwargs, form, action in forms:
        last = last_entry()
        form = {"oversight_mode": "gated_all", **form}
        if name in ("add-api-key", "add-webhook", "rotate-webhook"):
            page = client.get(reverse("webhook" if name == "rotate-webhook" else name, kwargs=kwargs)).content.decode()
            form["ticket"] = re.search(r'name="ticket" value="([^"]+)"', page)[1]
        answer = client.post(reverse(name, kwargs=kwargs), form)
        lines = told_since(last)
        # The request is recorded before the call, and its outcome after it.
        if [line.entry.action for line in lines if line.entry.actor_kind == "person"][-1:] != [action]:
            wrong[name] = (answer.status_code, [line.entry.action for line in lines])
        elif found := list(what_told_lacks(lines)):
            wrong[name] = found
    assert wrong == {}


# --- tasks


@pytest.fixture
def connection(upstream):
    return make_connection(api_url=upstream.url, admin_key="mm_live_admin", read_key="mm_live_read")


def fetched(connection, upstream, reviewer):
    message = make_message(connection, hydrated=False)
    upstream.holds(pending_row(message.upstream_id))
    return message.pk, "message.fetched"


def carried_out(connection, upstream, reviewer):
    message = make_message(connection)
    upstream.holds(pending_row(message.upstream_id))
    made = decide(message, reviewer).decision
    make_due()
    return made.pk, "decision.calling"


def found_by_reading(connection, upstream, reviewer):
    upstream.holds(pending_row("01UNHEARD", sent_by_key="01KEY"))
    return connection.pk, "message.held"


def list_not_pushed(connection, upstream, reviewer):
    return GateList.objects.create(mailbox=connection.mailboxes.get(), kind="restriction").pk, "allowlist.push_failed"


def mailbox_set_elsewhere(connection, upstream, reviewer):
    Mailbox.objects.filter(connection=connection).update(mirrored_at=Now(), oversight_mode="gated_all")
    row = {"id": "01MAILBOX", "address": "support@yourteam.example", "oversight_mode": "autonomous"}
    upstream.answers["/v1/mailboxes"] = (200, {"mailboxes": [row]})
    return connection.pk, "mailbox.seen_looser"


def resolved(connection, upstream, reviewer):
    message = make_message(connection)
    made = decide(message, reviewer).decision
    doubt = {"state": "unknown", "attempt": 1, "may_have_left": True, "changed_at": Now() - timedelta(seconds=3)}
    Decision.objects.filter(pk=made.pk).update(**doubt)
    upstream.holds(status="approved", decision="approved", decided_by="Key desk", reason=made.reference)
    return made.pk, "decision.applied"


def asked_about(connection, upstream, reviewer):
    Connection.objects.update(complete_as_of=Now())
    message = hear(Connection.objects.get()).ask
    upstream.answers[READ] = (200, letter(delivered_at="2026-11-20T10:00:00Z"))
    return message.pk, "message.delivered"


def expired(connection, upstream, reviewer):
    message = make_message(connection)
    Message.objects.filter(pk=message.pk).update(expires_at=Now() - timedelta(minutes=1))
    return None, "decision.recorded"


WORK = {
    "approvals.tasks.hydrate": fetched,
    "approvals.tasks.execute_decision": carried_out,
    "approvals.tasks.read_connection": found_by_reading,
    "policy.tasks.push_list": list_not_pushed,
    "mirror.tasks.read_mailboxes": mailbox_set_elsewhere,
    "approvals.tasks.resolve_decision": resolved,
    "approvals.tasks.ask_about": asked_about,
    "approvals.tasks.sweep": expired,
}


def test_every_task_is_in_one_of_the_lists():
    for name in TASKS:
        assert [name in known for known in (WORK, QUIET_TASKS, PROVED_TASKS)].count(True) == 1, name
    assert {*WORK, *QUIET_TASKS, *PROVED_TASKS} <= set(TASKS)


def test_tasks_leave_entries(connection, upstream, reviewer):
    for name, work in WORK.items():
        with rolled_back():
            upstream.forget()
            row, action = work(connection, upstream, reviewer)
            last = last_entry()
            tasks()[name].run(*([row] if row is not None else []))
            lines = told_since(last)
            assert action in [line.entry.action for line in lines], name
            for line in lines:
                assert line.entry.surface == "worker", name
                assert line.entry.actor_kind in ("worker", "rule", "webhook"), name
                assert not SETTINGS & {line.entry.action} or {"before", "after"} <= set(line.details), name


# --- the lists themselves


def test_tests_named_in_the_lists_exist():
    assert {*NO_ACTS, *PROVED, *READS, *AT_MULTIMAIL} <= set(DOORS)
    for reference in (*PROVED.values(), *PROVED_TASKS.values()):
        file, _, test = reference.partition("::")
        text = (HERE / file).read_text()
        assert not test or f"def {test}(" in text, reference
        assert "Entry" in text or "told(" in text or "actions(" in text, reference
