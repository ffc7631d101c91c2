"""Visits the addresses of the desk (tests/doors.py) for permission tests: with people
of every role, and with the rows that each address needs.
"""

import copy
import hashlib
import re
from collections import defaultdict
from dataclasses import asdict
from datetime import timedelta
from functools import cached_property
from http.cookies import SimpleCookie
from itertools import product
from typing import NamedTuple
from urllib.parse import urlencode

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.db import transaction
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from alerts.models import Delivery, Destination
from approvals.bulk.matching import Matching, sign_matching
from approvals.bulk.sheet import OnSheet, Sheet, sign_sheet
from approvals.decisions.shown import finding_name
from approvals.models import (
    Brake,
    BulkAct,
    Claim,
    Review,
    SavedView,
    Snooze,
    Verdict,
)
from approvals.operations.attention import attention_for
from approvals.operations.items import grouped
from audit.models import SavedSearch
from common.actors import Role, operator
from common.encryption import encrypt
from common.identifiers import uuid7
from mirror.models import (
    AttachedFile,
    Mailbox,
    Message,
    RemotePicture,
    WebhookEvent,
)
from mirror.recording import record_about
from notices.models import Cause, Notice
from notices.preferences import stop_path
from people.accounts.chat_accounts import offer_link
from people.addresses import proof_path
from people.models import (
    WAITS_FOR,
    ChatAccount,
    Grant,
    Invitation,
    PendingChange,
)
from people.second_admin.changes import pack
from people.second_admin.registry import COMMANDS
from policy.errors import seen_state
from policy.models import (
    DutyTurn,
    Group,
    KillSwitch,
    PolicyVersion,
    ReviewPlan,
    WorkCalendar,
)
from policy.rules.changes import in_words
from risk.findings import Finding, restored
from tests.acts import NO_ACTS, PROVED
from tests.doors import DOORS, EVERYBODY
from tests.factories import (
    change_row,
    event_body,
    make_connection,
    make_list,
    make_message,
    make_person,
    post_event,
    rolled_back,
)
from tests.integration.deciding import decide, make_edit
from tests.ledger import seal_here
from tests.office_files import INVOICE_PDF
from tests.permission_table import addresses
from tests.push import SUBSCRIPTION, make_browser
from tests.signing import give_app

PUBLIC = {
    *"""
    healthz readyz metrics live stop-mail live-reach csp-report mfa_login_webauthn
    mfa_authenticate oidc-login oidc-callback account_login account_logout
    multimail-webhook discord-interactions slack-interactions join
""".split()
}
# Addresses that accept only POST.
POST_ONLY = {name for name, door in DOORS.items() if door.is_post_only}


# Documents of their own in a frame of a page.
FRAMED = {
    *"""
    message-body message-original edit-preview seen-body message-view file-view
    picture-view
""".split()
}
# Documents without the desk around them.
BARE = {
    "trace-proof-html",
    "account_reauthenticate",
    "account_resubmit",
    "mfa_reauthenticate",
    "mfa_reauthenticate_webauthn",
}
PATHS = {name: path.lstrip("/") for name, path in addresses()}


class Persona(NamedTuple):
    """A person who visits addresses: with a role and what it is for, or without a role,
    signed in or not.
    """

    role: Role | None = None
    reach: str = ""
    is_signed_in: bool = True

    def __str__(self):
        if not self.is_signed_in:
            return "signed out"
        return f"{self.role} of {self.reach}" if self.role else "without a role"


SIGNED_OUT = Persona(is_signed_in=False)
NOBODY = Persona()
SOMEBODY = [
    Persona(role, reach)
    for role, reach in product(
        Role, ("everything", "connection", "mailbox", "elsewhere")
    )
]
# For what a role must be given, by `Door.reach`.
_FITS = {
    "mailbox": {"everything", "connection", "mailbox"},
    "connection": {"everything", "connection"},
    "some connection": {"everything", "connection", "elsewhere"},
    "desk": {"everything"},
}


def may(persona, door):
    if not persona.is_signed_in:
        return False
    if door.reach == "own" and not door.covers:
        return door.roles == EVERYBODY or persona.role in door.roles
    return (
        persona.role in door.roles and persona.reach in _FITS[door.covers or door.reach]
    )


class Walk:
    """The rows that the addresses need, and the person who visits them, with a session
    from just now and one from 11 minutes ago.
    """

    subscription = SUBSCRIPTION

    def __init__(self, client, signed_in):
        self.client = client
        self.connection = make_connection(
            admin_key="mm_live_admin", read_key="mm_live_read"
        )
        self.mailbox = Mailbox.objects.get(connection=self.connection)
        self.elsewhere = make_connection("elsewhere")
        self.message = make_message(self.connection)
        self.person = make_person("walker@yourteam.example", "Wanda Walker")
        self.sessions = {}
        for minutes in (0, 11):
            client.cookies.clear()
            self.sessions[minutes] = signed_in(self.person, minutes=minutes).cookies
            client.cookies = SimpleCookie()

    def with_rows(self, needs):
        """Return a copy of the walk with the rows that `needs` names."""
        walk = copy.copy(self)
        if needs:
            getattr(walk, f"_need_{needs}")()
        walk.message = Message.objects.get(pk=walk.message.pk)
        return walk

    @property
    def message_id(self):
        return str(self.message.public_id)

    def become(self, persona, minutes=0):
        """Give the person this role, and use the session from `minutes` ago (0 or
        11).
        """
        self.client.cookies = SimpleCookie()
        if persona.is_signed_in:
            self.client.cookies = copy.deepcopy(self.sessions[minutes])
        grants = {
            "connection": {"connection": self.connection},
            "mailbox": {"mailbox": self.mailbox},
            "elsewhere": {"connection": self.elsewhere},
        }
        if persona.role:
            reach = grants.get(persona.reach, {})
            Grant.objects.create(person=self.person, role=persona.role, **reach)

    @cached_property
    def decider(self):
        return make_person("decider@yourteam.example", "Dora", "reviewer")

    @property
    def on_sheet(self):
        return OnSheet(self.message.public_id, self.message.revision.fingerprint)

    @property
    def item(self):
        return self.on_sheet.pair

    @property
    def signed_sheet(self):
        return sign_sheet(Sheet([self.on_sheet]), person=str(self.person.pk))

    @property
    def signed_matching(self):
        keys = [self.message.pk]
        matching = Matching("refund", keys, self.message.revision_id, [self.mailbox.pk])
        return sign_matching(matching, person=str(self.person.pk))

    @property
    def finding(self):
        """The name of the first finding's tick."""
        return finding_name(restored(self.message.revision.findings[0]))

    @property
    def seen(self):
        """The state of the row as its form was shown."""
        return seen_state(in_words(self.row))

    @property
    def draft_seen(self):
        return PolicyVersion.objects.get(state="draft").seen

    @property
    def in_a_month(self):
        return f"{timezone.now() + timedelta(days=30):%Y-%m-%d}"

    def _need_list(self):
        self.list = self.row = make_list("x.example", mailbox=self.mailbox)

    def _need_brake(self):
        """Make a flood that has the message."""
        self.brake = Brake.objects.create(
            connection=self.connection,
            mailbox=self.mailbox,
            kind="key",
            what="key:01KEY",
            name="Invoices",
            sent_by_key="01KEY",
            window=timedelta(hours=1),
            cap=5,
        )
        Review.objects.filter(pk=self.message.pk).update(
            brake=self.brake, is_apart=True
        )

    def _need_bulk_act(self):
        """Make an act of the person that has begun."""
        self.act = BulkAct.objects.create(
            public_id=uuid7(),
            person=self.person,
            outcome="reject",
            reason="No",
            matched="refund",
            begins_at=Now(),
        )
        self.act.items.create(
            message=self.message, fingerprint=self.message.fingerprint
        )

    def _need_seal(self):
        seal_here()

    def _need_verdict(self):
        self.verdict = decide(self.message, self.decider).verdict

    def _need_leaving(self):
        decide(self.message, self.decider)

    def _need_approval(self):
        """Approve the message as the person; a policy needs others too."""
        self._need_policy()
        Verdict.objects.create(
            outcome="approve",
            surface="web",
            awaits_others=True,
            message=self.message,
            revision=self.message.revision,
            person=self.person,
        )

    def _need_doubt(self):
        made = decide(self.message, self.decider).decision
        change_row(made, state="unknown", attempt=1, may_have_left=True, seen_held=2)

    def _need_half(self):
        """Make an edit of which the original is not rejected yet."""
        self._record("message.edit_asked")
        make_edit(
            self.message,
            self.decider,
            state="sent",
            upstream_id="01CORRECTED",
            next_attempt_at=None,
            subject="Refund",
            markdown="Hello.",
        )

    def _need_untold(self):
        made = decide(self.message, self.decider).decision
        change_row(made, state="unattributed", attempt=1, may_have_left=True)
        change_row(self.message, state="gone")

    def _need_poison(self):
        post_event(self.client, self.connection, event_body(email_id="01POISON"))
        WebhookEvent.objects.filter(email_id="01POISON").update(result="poison")

    def _need_file(self):
        AttachedFile.objects.create(
            message=self.message,
            revision=self.message.revision,
            place=1,
            name="a.txt",
            content=b"Hello",
            state="fetched",
            kind="text",
            seen={"encoding": "utf-8"},
        )

    def _need_remote(self):
        """A message with a remote picture, in a mailbox where it may be fetched."""
        change_row(self.mailbox, loads_pictures=True)
        self.message = make_message(
            self.connection, html_body='<img src="https://img.example/lamp.png">'
        )

    def _need_pictures(self):
        """A message with a remote picture that was fetched."""
        self._need_remote()
        RemotePicture.objects.create(
            message=self.message,
            revision=self.message.revision,
            place=1,
            name="img.example",
            url="https://img.example/a.png",
            state="fetched",
            kind="png",
            seen={"width": 40, "height": 30},
            found_size=70,
        )

    def _need_finding(self):
        found = asdict(
            Finding("payment_details", 1, "notice", "It holds a bank account number.")
        )
        self.message.revisions.update(findings=[found])
        self.message.revision.refresh_from_db()

    def _need_pdf(self):
        self._need_file()
        sha256 = hashlib.sha256(INVOICE_PDF).hexdigest()
        self.message.files.update(kind="pdf", content=INVOICE_PDF, found_sha256=sha256)

    def _need_session(self):
        self.session = UserSession.objects.create(
            user=self.person, session_key="x" * 32, ip="127.0.0.1", user_agent="x"
        )

    def _need_discord(self):
        self.discord = ChatAccount.objects.create(
            person=self.person, service="discord", account_id="1"
        )

    def _need_other_discord(self):
        self._need_person()
        self.discord = ChatAccount.objects.create(
            person=self.other, service="discord", account_id="1"
        )

    def _need_discord_link(self):
        self.token = (
            offer_link(service="discord", account_id="1", name="wanda")
            .rstrip("/")
            .rpartition("/")[2]
        )

    def _need_factor(self, person=None):
        self.factor = Authenticator.objects.create(
            user=person or self.person, type="webauthn", data={"name": "Phone"}
        )

    def _need_person(self):
        # Another admin of everything, so that the person is not the last one.
        make_person("second@yourteam.example", "Sam", "admin")
        self.other = make_person("other@yourteam.example", "Olga", "reviewer")
        self.other_grant = self.other.grants.get()

    def _need_inactive_person(self):
        self._need_person()
        change_row(self.other, is_active=False)

    def _need_invitation(self):
        inviter = make_person("second@yourteam.example", "Sam", "admin")
        self.invitation = Invitation.objects.create(
            email="new@yourteam.example",
            token_hash="0" * 64,
            grants=[{"role": "reviewer", "connection": None, "mailbox": None}],
            invited_by=inviter,
            expires_at=Now() + timedelta(days=1),
        )

    def asked_change(self):
        """Return a requested change of the desk's settings of the mailbox."""
        arguments = {
            "mailbox": self.mailbox,
            "undo_window": timedelta(seconds=5),
            "loads_pictures": True,
            "actor": operator("walk", Role.ADMIN),
        }
        with transaction.atomic():
            command = COMMANDS["set_desk_settings"]
            in_words = next(command.run(**arguments))
            return command.asked(in_words(), arguments)

    @property
    def packed_change(self):
        return pack(self.asked_change(), self.person.actor(surface="web"))

    def _need_pending_change(self, asker=None):
        asked = self.asked_change()
        self.change = PendingChange.objects.create(
            command=asked.command,
            mailbox=self.mailbox,
            title=asked.title,
            before=asked.before,
            after=asked.after,
            url=asked.page,
            change=asked.change,
            asked_by=asker or make_person("second@yourteam.example", "Sam", "admin"),
            reason="Receipts have pictures.",
            expires_at=Now() + WAITS_FOR,
        )

    def _need_own_change(self):
        self._need_pending_change(self.person)

    def _need_made_secret(self):
        self._need_pending_change(self.person)
        second = make_person("second@yourteam.example", "Sam", "admin")
        change = self.change.change | {"secret": encrypt("mm_live_made")}
        PendingChange.objects.update(
            state="accepted", ended_by=second, ended_at=Now(), change=change
        )

    def _need_app(self):
        give_app(self.person)

    def _need_factor_of_other(self):
        self._need_person()
        self._need_factor(self.other)

    def _need_old_secret(self):
        change_row(
            self.connection,
            previous_webhook_secret="x",
            previous_secret_until=Now() + timedelta(hours=1),
        )

    def _record(self, action):
        with transaction.atomic():
            record_about(action, self.message, actor=self.person.actor(surface="web"))

    def _need_claim(self):
        Claim.objects.create(message=self.message, person=self.person)

    def _need_snooze(self):
        Snooze.objects.create(
            message=self.message, person=self.person, until=Now() + timedelta(hours=1)
        )
        self._record("snooze.set")

    def _need_pause(self):
        change_row(
            self.connection, paused_at=Now(), paused_because="Wait", paused_by_hand=True
        )

    def _need_destination(self):
        self.destination = Destination.objects.create(
            name="Ops",
            url="https://discord.com/api/webhooks/1/abc",
            switched_off_at=Now(),
            switched_off_because="Gone",
        )
        self.route = self.destination.routes.create(actions=["message.failed"])

    def _need_browser(self):
        self.browser = make_browser(self.person)

    def _need_signed_place(self):
        self.destination = Destination.objects.create(
            kind="signed_webhook", name="Ours", url="https://a.example/"
        )

    def _need_alert(self):
        self._need_signed_place()
        self.alert = Delivery.objects.create(
            destination=self.destination, kind="event", action="test", state="failed"
        )

    def _need_told_alert(self):
        self._need_alert()
        Delivery.objects.update(message=self.message)

    def _need_view(self):
        self.view = SavedView.objects.create(
            person=self.person, name="Mine", query="tab=mine"
        )

    def _need_draft(self):
        rule = {"id": "first", "name": "Four eyes", "then": {"approvals": {"0": 2}}}
        PolicyVersion.objects.create(number=1, rules=[rule], author=self.decider)

    def _need_policy(self):
        self._need_draft()
        PolicyVersion.objects.update(state="active", activated_at=Now())

    def _need_draft_pass(self):
        """Make a draft with a pass, and a second admin who could sign it."""
        self._need_draft()
        make_person("second@yourteam.example", "Sam", "admin")
        change_row(self.message, sent_by_key="01KEY")
        self._need_list()
        one = {
            "id": "pass1",
            "name": "Invoices",
            "when": {
                "keys": [f"{self.connection.pk}:01KEY"],
                "mailboxes": [self.mailbox.pk],
                "lists": [self.list.pk],
            },
            "ends_at": "2099-01-01T00:00:00Z",
            "a_day": 20,
        }
        PolicyVersion.objects.update(passes=[one])

    def _need_policy_group(self):
        self.row = Group.objects.create(name="Legal")

    def _need_deadline(self):
        change_row(self.message, expires_at=Now() + timedelta(hours=1))
        self.tomorrow = f"{timezone.now() + timedelta(days=1):%Y-%m-%dT%H:%M}"

    def _need_calendar(self):
        self.row = WorkCalendar.objects.create(
            name="Office", zone="UTC", weekly=[[[540, 1020]]] * 7
        )

    def _need_plan(self):
        ReviewPlan.objects.create(mailbox=self.mailbox, targets={"": [60, 120]})

    def _need_turn(self):
        self.turn = DutyTurn.objects.create(person=self.person, mailbox=self.mailbox)

    def _need_notice(self):
        self.notice = Notice.objects.create(
            person=self.person, cause="account", action="person.factor_added"
        )

    def _need_search(self):
        self.search = SavedSearch.objects.create(
            person_id=self.person.pk, name="Mine", query="action=decisions"
        )

    def _need_entry(self):
        self._need_list()
        self.entry = self.list.entries.get()

    @cached_property
    def switch(self):
        return KillSwitch.objects.create(
            connection=self.connection, reason="Wait", pulled_by=self.decider
        )

    @property
    def event(self):
        return WebhookEvent.objects.filter(connection=self.connection).latest("pk")

    @property
    def key(self):
        """The key of the group of webhooks that cannot be applied (page Attention)."""
        items = attention_for(operator("walk", Role.ADMIN), timezone.now())
        groups = grouped(items)
        return next(one.key for one in groups if one.first.kind == "poison")

    def address(self, name):
        values = {
            "public_id": self.message.public_id,
            "upstream_id": self.message.upstream_id,
            "webhook_id": self.connection.webhook_id,
            "place": 1,
            "proof": proof_path(self.person).split("/")[-2],
            "signed": stop_path(self.person.pk, Cause.SUMMARY).split("/")[-2],
            "page": 1,
            "slot": "read",
            "key_id": "k1",
            "subscription_id": "h1",
            "domain_id": "d1",
            "delivery_id": "d1",
            "policy_part": "pass1" if name == "policy-pass" else "first",
            "policy_number": 1,
            "text_kind": "reject",
        }
        arguments = {}
        for key in re.findall(r"<\w+:(\w+)>", PATHS[name]):
            if key in values:
                arguments[key] = values[key]
            elif key == "person_id":
                arguments[key] = self.other.pk
            elif key.endswith("_id"):
                # The row that `with_rows` made.
                arguments[key] = getattr(self, key.removesuffix("_id")).pk
            else:
                arguments[key] = getattr(self, key)
        path = reverse(name, kwargs=arguments)
        query = DOORS[name].query
        return f"{path}?{urlencode(query(self))}" if query else path


def go_through(walk, door, name, path):
    if name in POST_ONLY or door.fields:
        return walk.client.post(path, door.fields(walk) if door.fields else {})
    return walk.client.get(path)


def takes_a_form(name):
    return name in POST_ONLY or bool(DOORS[name].fields) or DOORS[name].writes


def what_it_wrongly_takes(walk, name):
    """Return what an address accepts against its door, as a sentence: a GET or a form;
    empty if it refuses both.
    """
    path = walk.address(name)
    if name in POST_ONLY:
        answer = walk.client.get(path)
        is_refused = answer.status_code == 405 and answer["Allow"] == "POST"
        return "" if is_refused else "does something by looking"
    if takes_a_form(name) or name in NO_ACTS | PROVED:
        return ""
    answer = walk.client.generic("PATCH", path)
    is_refused = answer.status_code == 405 and "POST" not in answer["Allow"]
    return "" if is_refused else "takes a form, and stands in no list"


def directives(answer):
    parts = answer["Content-Security-Policy"].split(";")
    return {
        name: value for name, _, value in (one.strip().partition(" ") for one in parts)
    }


def walks(client, signed_in, names):
    """Yield (walk, names) for each group of these addresses that need the same rows."""
    by_need = defaultdict(list)
    for name in names:
        by_need[DOORS[name].needs].append(name)
    walk = Walk(client, signed_in)
    for needs, alike in by_need.items():
        with rolled_back():
            yield walk.with_rows(needs), alike


def standing_before(client, signed_in, names):
    """Yield each of these addresses with a walk that has its rows. All changes are
    rolled back before the next one.
    """
    for walk, alike in walks(client, signed_in, names):
        for name in alike:
            with rolled_back():
                yield name, copy.copy(walk)


def check_headers(answer, *, is_frame=False, is_static=False):
    assert "Content-Security-Policy" in answer, answer.wsgi_request.path
    policy = directives(answer)
    assert policy["default-src"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    if is_frame:
        assert answer["Referrer-Policy"] == "no-referrer"
        assert answer["X-DNS-Prefetch-Control"] == "off"
        assert "sandbox" in policy
        assert policy["frame-ancestors"] == "'self'"
        assert policy["img-src"] == "data:"
        assert "script-src" not in policy
    else:
        assert answer["Referrer-Policy"] == "same-origin"
        assert policy["script-src"] == "'self'"
        assert policy["style-src"] == "'self'"
        assert policy["object-src"] == "'none'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["report-uri"] == "/csp-report/"
        assert "unsafe" not in answer["Content-Security-Policy"]
    if not is_static:
        assert answer["Cache-Control"] == "no-store"
