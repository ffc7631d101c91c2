"""Walks every address as everybody: whoever may gets through, nobody else does, and what they tried changed nothing.

Security lines 47 to 49. The doors stand in `tests/doors.py`; an address without one fails here.
"""

import re
from datetime import timedelta
from functools import cached_property
from itertools import product
from typing import NamedTuple

import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.db import connection as database
from django.db import transaction
from django.db.models.functions import Now
from django.urls import reverse

from alerts.models import Delivery, Destination
from approvals.desk.sheets import OnSheet, new_sheet, sign_sheet
from approvals.models import (
    Connection,
    Decision,
    EnclosedFile,
    GateRefusal,
    KeyOwner,
    Mailbox,
    Message,
    SavedView,
    WebhookEvent,
)
from audit.models import Export, SavedSearch
from dashboard.celery import app as celery
from people.actors import Role
from people.discord_accounts import offer_link
from people.models import DiscordAccount, Grant, Invitation, Person
from policy.models import Allowlist, GateList, KillSwitch
from tests.doors import DOORS, EVERYBODY, TASKS
from tests.factories import event_body, make_connection, make_message, make_person, pending_row, post_event
from tests.integration.deciding import decide, make_due
from tests.integration.test_every_url import PATHS, POST_ONLY
from tests.ledger import seal_here
from tests.permission_table import TABLE, text

pytestmark = pytest.mark.django_db

# What is written however a request ends: sessions, counters of limits, and that somebody was refused or handed a page.
UNTOLD = ("django_session", "cache", "usersessions_usersession", "audit_entry", "audit_entrydetail")
NOTED = (
    "('access.denied', 'verdict.refused', 'message.served', 'attachment.served', 'thread.opened',"
    " 'message.opened', 'bulk.decided', 'ledger.seen_again')"
)


class Persona(NamedTuple):
    """Somebody who tries: with a role, and how far it reaches. Without a role: signed in, or not even that."""

    role: Role | None = None
    reach: str = ""
    is_signed_in: bool = True

    def __str__(self) -> str:
        if not self.is_signed_in:
            return "signed out"
        return f"{self.role} of {self.reach}" if self.role else "without a role"


SIGNED_OUT, NOBODY = Persona(is_signed_in=False), Persona()
SOMEBODY = [Persona(role, reach) for role, reach in product(Role, ("everything", "connection", "mailbox", "elsewhere"))]
_FITS = {
    "mailbox": {"everything", "connection", "mailbox"},
    "connection": {"everything", "connection"},
    "some connection": {"everything", "connection", "elsewhere"},
    "desk": {"everything"},
}


def who_try(door):
    """Everybody whose try could end otherwise than another's: a role that may not ends the same however far it reaches,
    and what only shows something is the same door for all that reach it.
    """
    alike = ("connection", "mailbox") if door.fields else ()
    mine = [one for one in SOMEBODY if one.role in door.roles and one.reach in ("everything", "elsewhere", *alike)]
    others = [one for one in SOMEBODY if one.role not in door.roles and one.reach == "everything"]
    return (SIGNED_OUT, NOBODY, *mine, *others)


def may(persona, door):
    if not persona.is_signed_in:
        return False
    if door.reach == "own":
        return door.roles == EVERYBODY or persona.role in door.roles
    return persona.role in door.roles and persona.reach in _FITS[door.reach]


class Walk:
    """The rows that stand behind the doors."""

    def __init__(self, client, needs):
        self.client, self.needs = client, needs
        self.connection = make_connection(admin_key="mm_live_admin", read_key="mm_live_read")
        self.mailbox = Mailbox.objects.get(connection=self.connection)
        self.elsewhere = make_connection("elsewhere")
        self.message = make_message(self.connection)
        self.person = self.add_person(NOBODY)
        getattr(self, f"_need_{needs}", lambda: None)()
        self.message = Message.objects.get(pk=self.message.pk)

    @property
    def message_id(self):
        return str(self.message.public_id)

    def add_person(self, persona):
        person, _ = Person.objects.get_or_create(
            email="walker@yourteam.example", defaults={"name": "Wanda Walker", "password": "!"}
        )
        Grant.objects.filter(person=person).delete()
        where = {
            "everything": {},
            "connection": {"connection": self.connection},
            "mailbox": {"mailbox": self.mailbox},
            "elsewhere": {"connection": self.elsewhere},
        }
        if persona.role:
            Grant.objects.create(person=person, role=persona.role, **where[persona.reach])
        return person

    @cached_property
    def decider(self):
        return make_person("decider@yourteam.example", "Dora", "reviewer")

    def sheet(self):
        item = OnSheet(self.message.public_id, self.message.revision.fingerprint)
        signed = sign_sheet(new_sheet([item]), person=str(self.person.pk))
        return {"sheet": signed, "item": [f"{item.message}.{item.fingerprint}"], "outcome": "approve"}

    def _need_list(self):
        Allowlist.objects.create(connection=self.connection, kind="restriction", mode="enforce", version=1)

    def _need_seal(self):
        seal_here()

    def _need_verdict(self):
        self.verdict = decide(self.message, self.decider).verdict

    def _need_leaving(self):
        decide(self.message, self.decider)

    def _need_doubt(self):
        made = decide(self.message, self.decider).decision
        doubt = {"state": "unknown", "attempt": 1, "may_have_left": True, "seen_held": 2}
        Decision.objects.filter(pk=made.pk).update(**doubt)

    def _need_untold(self):
        made = decide(self.message, self.decider).decision
        Decision.objects.filter(pk=made.pk).update(state="unattributed", attempt=1, may_have_left=True)
        Message.objects.filter(pk=self.message.pk).update(state="gone")

    def _need_poison(self):
        post_event(self.client, self.connection, event_body(email_id="01POISON"))
        WebhookEvent.objects.filter(email_id="01POISON").update(result="poison")

    def _need_file(self):
        EnclosedFile.objects.create(
            message=self.message,
            revision=self.message.revision,
            place=1,
            name="a.txt",
            content=b"Hello",
            state="fetched",
            kind="text",
        )

    def _need_stalled(self):
        """A decision that should have been carried out a while ago."""
        made = decide(self.message, self.decider).decision
        Decision.objects.filter(pk=made.pk).update(
            due_at=Now() - timedelta(hours=1), recorded_at=Now() - timedelta(hours=1)
        )

    def _need_session(self):
        self.session = UserSession.objects.create(
            user=self.person, session_key="x" * 32, ip="127.0.0.1", user_agent="x"
        )

    def _need_discord(self):
        self.discord = DiscordAccount.objects.create(person=self.person, discord_id="1")

    def _need_other_discord(self):
        self._need_person()
        self.discord = DiscordAccount.objects.create(person=self.other, discord_id="1")

    def _need_discord_link(self):
        self.token = offer_link(discord_id="1", name="wanda").rstrip("/").rpartition("/")[2]

    def _need_factor(self):
        self.factor = Authenticator.objects.create(user=self.person, type="webauthn", data={"name": "Phone"})

    def _need_person(self):
        # A second admin of everything, so that nobody is the last.
        make_person("second@yourteam.example", "Sam", "admin")
        self.other = make_person("other@yourteam.example", "Olga", "reviewer")
        self.other_grant = self.other.grants.get()

    def _need_inactive_person(self):
        self._need_person()
        Person.objects.filter(pk=self.other.pk).update(is_active=False)

    def _need_invitation(self):
        inviter = make_person("second@yourteam.example", "Sam", "admin")
        grants = [{"role": "reviewer", "connection": None, "mailbox": None}]
        until = Now() + timedelta(days=1)
        self.invitation = Invitation.objects.create(
            email="new@yourteam.example", token_hash="0" * 64, grants=grants, invited_by=inviter, expires_at=until
        )

    def _need_pause(self):
        Connection.objects.filter(pk=self.connection.pk).update(
            paused_at=Now(), paused_because="Wait", paused_by_hand=True
        )

    def _need_destination(self):
        self.destination = Destination.objects.create(
            name="Ops", url="https://discord.com/api/webhooks/1/abc", switched_off_at=Now(), switched_off_because="Gone"
        )
        self.route = self.destination.routes.create(actions=["message.failed"])

    def _need_signed_place(self):
        self.destination = Destination.objects.create(kind="signed_webhook", name="Ours", url="https://a.example/")

    def _need_alert(self):
        place = Destination.objects.create(kind="signed_webhook", name="Ours", url="https://a.example/")
        self.alert = Delivery.objects.create(destination=place, kind="event", action="test", state="failed")

    def _need_told_alert(self):
        self._need_alert()
        Delivery.objects.update(message=self.message)

    def _need_view(self):
        self.view = SavedView.objects.create(person=self.person, name="Mine", query="tab=mine")

    def _need_search(self):
        self.search = SavedSearch.objects.create(person=self.person.pk, name="Mine", query="action=decisions")

    def _need_entry(self):
        own = Allowlist.objects.create(mailbox=self.mailbox, kind="restriction", version=1)
        self.entry = own.entries.create(pattern="x.example")

    def _need_gate(self):
        self.gate = GateList.objects.create(mailbox=self.mailbox, kind="restriction")

    def _need_refusal(self):
        Allowlist.objects.create(connection=self.connection, kind="restriction", mode="enforce", version=1)
        who = {"recipients": ["dana@x.example"], "refused": ["dana@x.example"], "refused_at": Now()}
        self.refusal = GateRefusal.objects.create(
            connection=self.connection, mailbox=self.mailbox, upstream_id="01REFUSAL", **who
        )

    def _need_export(self, state="asked"):
        kept = {"format": "csv", "snapshot": "0 0 1:1:", "rows_total": 0, "state": state}
        self.export = Export.objects.create(person=self.person.pk, **kept)

    def _need_broken_export(self):
        self._need_export("broken_off")

    @cached_property
    def switch(self):
        return KillSwitch.objects.create(connection=self.connection, reason="Wait", pulled_by=self.decider)

    def address(self, name):
        rows = {
            "public_id": lambda: self.message.public_id,
            "upstream_id": lambda: self.message.upstream_id,
            "webhook_id": lambda: self.connection.webhook_id,
            "connection_id": lambda: self.connection.pk,
            "mailbox_id": lambda: self.mailbox.pk,
            "rule": lambda: "first_contact",
            "event_id": lambda: WebhookEvent.objects.filter(connection=self.connection).latest("pk").pk,
            "place": lambda: 1,
            "search_id": lambda: self.search.pk,
            "view_id": lambda: self.view.pk,
            "session_id": lambda: self.session.pk,
            "factor_id": lambda: self.factor.pk,
            "person_id": lambda: self.other.pk,
            "invitation_id": lambda: self.invitation.pk,
            "destination_id": lambda: self.destination.pk,
            "route_id": lambda: self.route.pk,
            "alert_id": lambda: self.alert.pk,
            "token": lambda: self.token,
            "slot": lambda: "read",
            "key_id": lambda: "k1",
            "hook_id": lambda: "h1",
            "delivery_id": lambda: "d1",
            "switch_id": lambda: self.switch.pk,
            "scope": lambda: f"mailbox-{self.mailbox.pk}",
            "kind": lambda: "restriction",
            "entry_id": lambda: self.entry.pk,
            "verdict_id": lambda: self.verdict.pk,
            "gate_id": lambda: self.gate.pk,
            "refusal_id": lambda: self.refusal.pk,
            "export_id": lambda: self.export.pk,
        }
        return reverse(name, kwargs={key: rows[key]() for key in re.findall(r"<\w+:(\w+)>", PATHS[name])})


def written():
    """How many rows of each table this transaction has written so far, and of the ledger those that tell of an act."""
    with database.cursor() as cursor:
        cursor.execute("SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables")
        counts = {name: number for name, number in cursor.fetchall() if name not in UNTOLD}
        cursor.execute(f"SELECT count(*) FROM audit_entry WHERE action NOT IN {NOTED}")
        return counts | {"the ledger": cursor.fetchone()[0]}


def test_every_address_has_a_door_and_every_door_an_address():
    assert set(DOORS) == set(PATHS)


@pytest.mark.proves("security 47")
@pytest.mark.parametrize("name", [name for name in DOORS if DOORS[name].reach != "public"])
def test_whoever_may_gets_through_and_nobody_else(name, client, signed_in):
    door = DOORS[name]
    walk = Walk(client, door.needs)
    path = walk.address(name)
    for persona in who_try(door):
        for minutes in (0, 11) if door.sure and may(persona, door) else (0,):
            with transaction.atomic():
                become(walk, persona, minutes, signed_in)
                before = written()
                answer = go_through(walk, door, name, path)
                who = f"{persona} at {name}, {minutes} minutes after signing in: {answer.status_code}"
                changed = sorted(table for table, number in written().items() if before.get(table, 0) != number)
                judge(door, name, persona, minutes, answer, changed, who)
                transaction.set_rollback(True)


def become(walk, persona, minutes, signed_in):
    walk.client.logout()
    if persona.is_signed_in:
        walk.person = walk.add_person(persona)
        signed_in(walk.person, minutes=minutes)


def go_through(walk, door, name, path):
    if name in POST_ONLY or door.fields:
        return walk.client.post(path, door.fields(walk) if door.fields else {})
    return walk.client.get(path)


def judge(door, name, persona, minutes, answer, changed, who):
    target = answer.get("Location", "")
    if not persona.is_signed_in:
        assert (answer.status_code, target[:21]) == (302, "/accounts/login/?next"), who
        assert changed == [], who
    elif minutes:
        assert (answer.status_code, target.split("?")[0]) == (302, "/accounts/reauthenticate/"), who
        assert changed == [], who
    elif may(persona, door):
        # What is posted may lack something, and MultiMail is not there: the form says so, to whoever may fill it in.
        assert answer.status_code not in (403, 404, 500), who
        assert not target.startswith("/accounts/"), who
        if door.writes:
            assert changed, who
    else:
        refused = (302, 403, 404, 422) if door.is_gentle else (403, 404)
        assert answer.status_code in refused, who
        assert changed == [], who
        if persona.reach in ("", "elsewhere") and "<" in PATHS[name] and door.reach in ("mailbox", "connection"):
            # Not even that there is such a row.
            assert answer.status_code == 404, who


def tasks():
    celery.loader.import_default_modules()
    return celery.tasks


OUR_APPS = ("approvals", "alerts", "audit", "dashboard", "policy", "people")


def test_every_task_has_a_line():
    ours = {name for name in tasks() if name.split(".")[0] in OUR_APPS}
    assert ours == set(TASKS)


def withdraw_the_role(message, person):
    Grant.objects.filter(person=person).delete()


def give_the_role_elsewhere(message, person):
    Grant.objects.filter(person=person).update(connection=make_connection("elsewhere"))


def make_an_auditor(message, person):
    Grant.objects.filter(person=person).update(role=Role.AUDITOR)


def deactivate_the_person(message, person):
    Person.objects.filter(pk=person.pk).update(is_active=False)


def end_the_list(message, person):
    Allowlist.objects.create(kind="restriction", mode="enforce", version=1)


def let_it_expire(message, person):
    Message.objects.filter(pk=message.pk).update(expires_at=Now() - timedelta(minutes=1))


def own_the_key(message, person):
    Message.objects.filter(pk=message.pk).update(sent_by_key="k1")
    KeyOwner.objects.create(connection=message.connection, upstream_key_id="k1", person=person)


def pull_the_switch(message, person):
    KillSwitch.objects.create(mailbox=message.mailbox, reason="Wait", pulled_by=person)


ENDS = (
    *(withdraw_the_role, give_the_role_elsewhere, make_an_auditor, deactivate_the_person, end_the_list),
    *(let_it_expire, own_the_key, pull_the_switch),
)


@pytest.mark.parametrize("end", [None, *ENDS], ids=lambda end: end.__name__ if end else "nothing")
def test_no_task_carries_out_what_may_not_be_decided_any_more(end, upstream, reviewer):
    """The control shows that the tasks are given what they need: where nothing ended, the decision is carried out."""
    connection = make_connection(api_url=upstream.url)
    message = make_message(connection)
    upstream.holds(pending_row(message.upstream_id, sent_by_key="k1"))
    made = decide(message, reviewer).decision
    if end:
        end(message, reviewer)
    make_due()
    arguments = {
        "execute_decision": made.pk, "resolve_decision": made.pk, "hydrate": message.pk, "ask_about": message.pk,
        "freshen_thread": message.pk, "fill_facets": message.pk, "read_connection": connection.pk,
        "read_suppressed": connection.pk, "hear_of_letter": str(message.public_id),
    }  # fmt: skip
    for name in sorted(TASKS):
        task, last = tasks()[name], name.rpartition(".")[2]
        if last == "tick":
            task.run("approvals.tasks.sweep", 1)
        elif last in arguments:
            task.run(arguments[last])
        elif last in ("sweep", "execute_due", "forget", "reconcile_all", "read_all_suppressed"):
            task.run()
    approved = [one for one in upstream.decisions if one["action"] == "approve"]
    assert len(approved) == (0 if end else 1)


@pytest.mark.parametrize("name", [name for name in DOORS if DOORS[name].writes and DOORS[name].reach == "mailbox"])
def test_nobody_approves_what_is_off_the_list(name, client, signed_in):
    door = DOORS[name]
    walk = Walk(client, door.needs)
    Allowlist.objects.create(kind="restriction", mode="enforce", version=1)
    become(walk, Persona(Role.REVIEWER, "everything"), 0, signed_in)
    before = set(Decision.objects.values_list("pk", "state"))
    go_through(walk, door, name, walk.address(name))
    made = set(Decision.objects.values_list("pk", "state")) - before
    assert {state for _, state in made} <= {"undone", "withdrawn", "applied"}, made


def test_document_is_what_the_walk_says():
    assert TABLE.read_text() == text(), "run ./run test tests/integration/test_permissions.py --write-permissions"
