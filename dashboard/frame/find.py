"""Find: every page, mailbox, saved view, person and act elsewhere that a person may
use, and the messages that they may see, found by words.

What can be done with an open message is not listed: that message's page has the
buttons.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from approvals.decisions.status import shown_status
from approvals.models import SavedView
from approvals.queue.filters import TABS
from approvals.queue.querysets import queue_messages
from common.actors import Actor, Role
from common.pages import DeskRequest, page_or_fragment
from common.search_field import MAX_TYPED, as_asked
from common.words import asked, words_of
from mirror.models import Mailbox
from people.models import Person

# How many mailboxes, saved views or people are listed at most. The others are on the
# pages of their kind.
MOST = 1000
# How many messages. History has the search with pages.
MOST_MESSAGES = 10


@dataclass(frozen=True)
class Entry:
    """One link of the list, under the heading `kind`. `more` are other words by which
    it is found.
    """

    label: str
    kind: str
    url: str
    more: str = ""

    @property
    def found_by(self) -> str:
        """The words by which it is found: label, kind and `more`, without accents, case
        and punctuation.
        """
        return " ".join(words_of(f"{self.label} {self.kind} {self.more}"))


# Who may use a page or an act.
_policy = attrgetter("looks_after_policy")
_people = attrgetter("looks_after_people")
_accounts = attrgetter("looks_after_accounts")
_admin = attrgetter("is_admin_of_all")


def _may_stop(actor: Actor) -> bool:
    return actor.has(Role.REVIEWER) or actor.has(Role.ADMIN)


# A page: its label, its URL's name, other words by which it is found, and unless it is
# for everybody, a function that tells whether an actor may use it.
Place = tuple[Any, ...]

PAGES: list[Place] = [
    ("Home", "home", "start overview figures"),
    ("Queue", "queue", "waiting inbox messages"),
    ("Notices", "notices", "inbox bell told mentions assigned"),
    ("History", "history", "past decided sent"),
    ("Audit", "audit", "ledger log entries"),
    ("Needs attention", "attention", "stuck problems"),
    (
        "Changes for a second admin",
        "pending-changes",
        "policy waiting accept two approve",
        _policy,
    ),
    ("Kill switch", "stop", "stop emergency"),
    ("Alerts", "alerts", "discord slack notifications destinations"),
    ("Alert deliveries", "alert-log", "log discord slack"),
    ("Findings", "rules-findings", "rules risk"),
    ("Over limit", "brakes", "floods brake runaway agents caps set apart"),
    ("Limits", "caps", "caps brake messages an hour a day"),
    ("Allowlists", "allowlists", "allowed recipients"),
    (
        "Policy",
        "policy",
        "rules passes approvals four eyes draft versions minimum oversight",
    ),
    ("Policy: try", "try-policy", "rules test rehearse draft"),
    (
        "Policy: groups and hours",
        "groups-and-hours",
        "approvers members rules calendars holidays",
    ),
    ("Review plans", "review-plans", "targets late duty escalation ladder"),
    ("Mailboxes", "mailboxes", "oversight"),
    ("Domains", "domains", "dns dkim", _accounts),
    ("API keys", "api-keys", "agents tokens", _accounts),
    ("Webhooks", "webhooks", "events", _accounts),
    ("Connections", "connections", "multimail gateway"),
    ("People", "people", "persons roles users", _people),
    ("Second factor", "second-factor", "2fa rules roles people", _admin),
    ("Set-up", "setup", "first run", _admin),
    ("Reports", "reports", "", _people),
    (
        "Who decided what",
        "report-decisions",
        "report month unread speed figures people",
        _people,
    ),
    ("Who could decide where", "report-rights", "report roles date", _people),
    ("Ledger status", "ledger-state", "seals verify check"),
    (
        "Your account",
        "account",
        "profile name time zone me out of office away keyboard shortcuts",
    ),
    ("Your sessions", "sessions", "signed in devices"),
    ("Your second factors", "factors", "app passkey recovery codes 2fa"),
    ("Your chat accounts", "own-chat-accounts", "discord slack link"),
]
ACTS: list[Place] = [
    ("Pull the kill switch", "stop", "stop everything emergency", _may_stop),
    ("Add a connection", "add-connection", "new multimail gateway", _admin),
    ("Add a mailbox", "add-mailbox", "new create", _accounts),
    ("Invite somebody", "invite", "new person user people", _policy),
    (
        "Add an alert destination",
        "add-destination",
        "new discord slack webhook",
        _admin,
    ),
    ("Export history", "export", "download csv audit entries", _people),
    ("Compare the ledger with a checkpoint", "ledger-state", "verify head"),
    ("Add a group to the policy", "add-policy-group", "new approvers rules", _admin),
    ("Change your password", "own-password", ""),
]


def entries_for(actor: Actor) -> Iterator[Entry]:
    """Yield every entry that this actor may use, kind by kind."""
    yield from _usable(PAGES, "Pages", actor)
    queue = reverse("queue")
    for tab, label in TABS.items():
        if tab != "waiting":
            yield Entry(f"Queue: {label}", "Pages", f"{queue}?tab={tab}")
    yield from _usable(ACTS, "Actions", actor)
    mailboxes = Mailbox.objects.visible_to(actor).filter(connection__removed_at=None)
    for mailbox in mailboxes.active()[:MOST]:
        yield Entry(
            f"Messages of {mailbox}",
            "Mailboxes",
            f"{queue}?mailbox={mailbox.pk}",
            "queue",
        )
        yield Entry(
            f"Settings of {mailbox}",
            "Mailboxes",
            reverse("mailbox", args=[mailbox.pk]),
            "undo expiry oversight",
        )
    for view in SavedView.objects.usable_by(actor)[:MOST]:
        yield Entry(view.name, "Saved views", f"{queue}?{view.query}", "queue")
    for person in (
        Person.objects.read_by(actor)
        .filter(is_active=True)
        .order_by("name", "email")[:MOST]
    ):
        yield Entry(
            str(person), "People", reverse("person", args=[person.pk]), person.email
        )


def _usable(places: list[Place], kind: str, actor: Actor) -> Iterator[Entry]:
    for label, name, more, *may_use in places:
        if all(may(actor) for may in may_use):
            yield Entry(label, kind, reverse(name), more)


def messages_for(actor: Actor, typed: str) -> Iterator[Entry]:
    """Yield the newest messages that have these words, or this id or value, with what
    became of each.
    """
    found = queue_messages().visible_to(actor).holding(asked(typed))
    for message in found.in_order("newest").for_page()[:MOST_MESSAGES]:
        status = shown_status(message)
        label = f"{message} · {status.word}. {status.detail}".removesuffix(". ")
        yield Entry(label, "Messages", reverse("message", args=[message.public_id]))


@require_safe
def find(request: DeskRequest) -> HttpResponse:
    """List the messages and entries that contain every word that was typed; all entries
    if nothing was.
    """
    typed = as_asked(request.GET.get("q"), MAX_TYPED)
    words = words_of(typed)
    entries = list(messages_for(request.actor, typed)) if words else []
    entries += [
        entry
        for entry in entries_for(request.actor)
        if all(word in entry.found_by for word in words)
    ]
    return page_or_fragment(
        request,
        page="dashboard/find.html",
        fragment="dashboard/_find.html",
        context={"typed": typed, "entries": entries},
    )
