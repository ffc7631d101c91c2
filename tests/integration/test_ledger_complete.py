"""Every address that takes a form and every task leaves an entry in the ledger, or stands in a short list with why.

The walk is that of the permissions: the same rows, the same forms. `tests/acts.py` holds what it does not prove.
"""

import re
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.conf import settings as _settings
from django.db.models.functions import Now
from django.urls import reverse

from alerts.places.addresses import LIKE
from approvals.models import Connection, Decision, Mailbox, Message
from audit.actions import SETTINGS
from audit.models import Entry
from audit.trail import lines
from gateway.models import ApiKey, WebhookDelivery
from people.actors import Role
from policy.models import GateList
from tests.acts import NO_ACTS, PROVED, PROVED_TASKS, QUIET_TASKS, READS
from tests.doors import DOORS, TASKS
from tests.factories import make_connection, make_message, pending_row
from tests.integration.deciding import decide, make_due
from tests.integration.test_permissions import tasks
from tests.integration.test_unheard_of import READ, hear, letter
from tests.signing import give_app
from tests.walk import POST_ONLY, Persona, become, go_through, standing_before, undone

pytestmark = pytest.mark.django_db

HERE = _settings.BASE_DIR / "tests" / "integration"
AT_MULTIMAIL = {
    *("add-mailbox", "mailbox-settings", "mailbox-mode", "loosen-mailbox", "delete-mailbox"),
    *("add-api-key", "change-api-key", "api-key-owner", "revoke-api-key"),
    *("add-hook", "test-hook", "rotate-hook", "delete-hook", "replay-delivery"),
}
NEW = "a gannet counts slow wagons"
# What the walk's own form does not say, because it only has to get through the door.
FORMS = {
    "own-password": {"old": "correct horse battery", "new": NEW, "again": NEW},
    "add-destination": {"name": "Ops", "url": LIKE, "privacy": "headers", "events": ["email.held"]},
    "destination": {"name": "Others", "privacy": "minimal"},
}


def another_session(walk):
    walk._need_session()


def factors_of_other(walk):
    Authenticator.objects.create(user=walk.other, type="webauthn", data={"name": "Phone"})


def own_password(walk):
    walk.person.set_password("correct horse battery")
    walk.person.save()


def old_secret(walk):
    until = Now() + timedelta(hours=1)
    Connection.objects.filter(pk=walk.connection.pk).update(previous_webhook_secret="x", previous_secret_until=until)


def one_door_before(name):
    return lambda walk: go_through(walk, DOORS[name], name, walk.address(name))


# What has to be there first; before somebody signs in, or after.
ROWS = {
    "end-other-sessions": another_session,
    "take-factors-off": factors_of_other,
    "own-password": own_password,
    "recovery-codes": lambda walk: give_app(walk.person),
    "end-old-secret": old_secret,
}
BY_REVIEWERS = {"bulk", "release-claim", "end-snooze"}
FIRST = {"release-claim": one_door_before("claim"), "end-snooze": one_door_before("snooze")}


def takes_a_form(name):
    return name in POST_ONLY or DOORS[name].fields or DOORS[name].writes or name in FORMS


def told_since(last):
    return lines(Entry.objects.filter(pk__gt=last).oldest_first())


def last_entry():
    return Entry.objects.newest_first().values_list("pk", flat=True).first() or 0


def wrong_with(line):
    """What an entry of a walk by the web lacks."""
    entry, details = line.entry, line.details
    if not entry.surface or not entry.trace:
        yield f"{entry.action}: surface {entry.surface!r}, trace {entry.trace!r}"
    if entry.actor_kind == "person" and details.get("address") != "127.0.0.1":
        yield f"{entry.action}: from {details.get('address')!r}"
    if entry.actor_kind == "person" and entry.surface != "web":
        yield f"{entry.action}: by a person through {entry.surface}"
    if entry.action in SETTINGS and not (details.get("before") and details.get("after")):
        yield f"{entry.action}: before {details.get('before')!r}, after {details.get('after')!r}"
    elif entry.action in SETTINGS and details["before"] == details["after"]:
        yield f"{entry.action}: nothing is different"


def test_every_address_that_takes_a_form_leaves_an_entry(client, signed_in):
    names = {name for name in DOORS if takes_a_form(name) or name in READS} - {*NO_ACTS, *PROVED, *AT_MULTIMAIL}
    walks = standing_before(client, sorted(names))
    assert {name: found for name, walk in walks if (found := list(_go(name, walk, signed_in)))} == {}


def _go(name, walk, signed_in):
    door = DOORS[name]
    ROWS.get(name, lambda walk: None)(walk)
    # Who may do most: an admin where one may, else a reviewer, else an auditor.
    role = next(role for role in (Role.ADMIN, Role.REVIEWER, Role.AUDITOR) if role in door.roles)
    become(walk, Persona(role, "everything"), 0, signed_in)
    if name in BY_REVIEWERS:
        become(walk, Persona(Role.REVIEWER, "everything"), 0, signed_in)
    FIRST.get(name, lambda walk: None)(walk)
    path, last = walk.address(name), last_entry()
    form = FORMS.get(name)
    answer = walk.client.post(path, form) if form else go_through(walk, door, name, path)
    told = told_since(last)
    if not [line for line in told if line.entry.actor_kind == "person"]:
        yield f"no entry, the answer was {answer.status_code}"
    if name in READS and READS[name] not in [line.entry.action for line in told]:
        yield f"no {READS[name]}"
    for line in told:
        yield from wrong_with(line)


@pytest.mark.django_db
def test_every_address_that_changes_an_account_at_multimail_leaves_an_entry(signed_in, admin, account):
    client, box, world = signed_in(admin), account.mailbox, account.world
    hook = world.listen("oversight.pending", url="https://elsewhere.example.org/hook")
    sent = WebhookDelivery.objects.create(
        webhook=hook, state="failed", event_id="01E", event="oversight.pending", body=b"{}", trace="t"
    )
    agent = ApiKey.objects.get(name="Key agent")
    at = {"connection_id": account.connection.pk}
    settings = {"display_name": "Other", "auto_cc": "", "auto_bcc": "", "signature_block": ""}
    settings |= {"default_gate_timing": "gate_first", "scheduling_enabled": "1"}
    key, of_hook, of_box = at | {"key_id": agent.pk}, at | {"hook_id": hook.pk}, {"mailbox_id": box.pk}
    forms = [
        ("add-mailbox", {}, {**at, "connection": account.connection.pk, "address": "more"}, "mailbox.created"),
        ("mailbox-settings", of_box, settings, "mailbox.changed"),
        ("mailbox-mode", of_box, {"mode": "read_only"}, "mailbox.changed"),
        ("loosen-mailbox", of_box, {"to": "gated_all"}, "mailbox.loosened"),
        ("add-api-key", at, {"name": "Bot", "scopes": ["read"]}, "api_key.created"),
        ("change-api-key", key, {"name": "Key agent", "scopes": ["read"]}, "api_key.changed"),
        ("api-key-owner", key, {"owner": str(admin.pk)}, "api_key.owner_set"),
        ("revoke-api-key", key, {}, "api_key.revoked"),
        ("add-hook", at, {"url": "https://x.example.org/h", "events": ["message.sent"]}, "hook.registered"),
        ("test-hook", of_hook, {}, "hook.tested"),
        ("rotate-hook", of_hook, {"overlap": "3600"}, "hook.rotated"),
        ("replay-delivery", of_hook | {"delivery_id": sent.pk}, {}, "hook.replayed"),
        ("delete-hook", of_hook, {}, "hook.deleted"),
        ("delete-mailbox", of_box, {"address": box.address}, "mailbox.deleted"),
    ]
    assert {name for name, *_ in forms} == AT_MULTIMAIL
    wrong = {}
    for name, kwargs, form, action in forms:
        last = last_entry()
        page = reverse("hook" if name == "rotate-hook" else name, kwargs=kwargs)
        ticket = re.search(r'name="ticket" value="([^"]+)"', client.get(page).content.decode())
        form = {"oversight_mode": "gated_all", **form, **({"ticket": ticket[1]} if ticket else {})}
        answer = client.post(reverse(name, kwargs=kwargs), form)
        told = told_since(last)
        # Asked for stands before the call, and what came of it after.
        if [line.entry.action for line in told if line.entry.actor_kind == "person"][-1:] != [action]:
            wrong[name] = (answer.status_code, [line.entry.action for line in told])
        elif found := [one for line in told for one in wrong_with(line)]:
            wrong[name] = found
    assert wrong == {}


def test_whatever_takes_a_form_is_known_to_take_one(signed_in, admin, client):
    """An address that answers 405 names what it takes: a view that takes forms and is in no list fails here."""
    unknown = []
    for name, walk in standing_before(client, [one for one in DOORS if not takes_a_form(one)]):
        if name not in (NO_ACTS | PROVED):
            become(walk, Persona(DOORS[name].roles[0], "everything"), 0, signed_in)
            answer = client.generic("PATCH", walk.address(name))
            if answer.status_code != 405 or "POST" in answer["Allow"]:
                unknown.append((name, answer.status_code, answer.get("Allow")))
    assert unknown == []


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
    return connection.pk, "mailbox.seen_changed"


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
    "approvals.tasks.push_list": list_not_pushed,
    "approvals.tasks.read_mailboxes": mailbox_set_elsewhere,
    "approvals.tasks.resolve_decision": resolved,
    "approvals.tasks.ask_about": asked_about,
    "approvals.tasks.sweep": expired,
}


def test_every_task_stands_in_one_list():
    for name in TASKS:
        assert [name in known for known in (WORK, QUIET_TASKS, PROVED_TASKS)].count(True) == 1, name
    assert {*WORK, *QUIET_TASKS, *PROVED_TASKS} <= set(TASKS)


def test_tasks_leave_entries(connection, upstream, reviewer):
    for name, work in WORK.items():
        with undone():
            upstream.forget()
            row, action = work(connection, upstream, reviewer)
            last = last_entry()
            tasks()[name].run(*([row] if row is not None else []))
            told = told_since(last)
            assert action in [line.entry.action for line in told], name
            for line in told:
                assert line.entry.surface == "worker", name
                assert line.entry.actor_kind in ("worker", "rule", "webhook"), name
                assert not SETTINGS & {line.entry.action} or {"before", "after"} <= set(line.details), name


# --- the lists themselves


def test_what_the_lists_name_is_there():
    assert {*NO_ACTS, *PROVED, *READS, *AT_MULTIMAIL, *FORMS, *ROWS, *FIRST} <= set(DOORS)
    for place in (*PROVED.values(), *PROVED_TASKS.values()):
        file, _, test = place.partition("::")
        text = (HERE / file).read_text()
        assert not test or f"def {test}(" in text, place
        assert "Entry" in text or "told(" in text or "actions(" in text, place
