"""Find: every page, mailbox, saved view, person and act elsewhere that a person may
use, found by words.

What can be done with an open message is not listed: that message's page has the
buttons.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from alerts.destinations.commands import may_manage
from approvals.models import SavedView
from approvals.queue.filters import TABS
from approvals.reports import may_read_reports
from common.actors import Actor, Role
from common.pages import DeskRequest
from common.search_field import as_asked
from common.words import words_of
from mirror.models import Mailbox
from people.models import Person

# How many mailboxes, saved views or people are listed at most. The others are on the
# pages of their kind.
MOST = 1000


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


def _everybody(actor: Actor) -> bool:
    return True


_is_admin = attrgetter("looks_after_policy")
_looks_after_people = attrgetter("looks_after_people")
_looks_after_accounts = attrgetter("looks_after_accounts")
_is_admin_of_all = attrgetter("is_admin_of_all")

# A page: its label, its URL's name, other words by which it is found, and a function
# that tells whether an actor may use it.
Place = tuple[str, str, str, Callable[[Actor], bool]]
PAGES: list[Place] = [
    ("Home", "home", "start overview figures", _everybody),
    ("Queue", "queue", "waiting inbox messages", _everybody),
    ("History", "history", "past decided sent", _everybody),
    ("Audit", "audit", "ledger log entries", _everybody),
    ("Needs attention", "attention", "stuck problems", _everybody),
    (
        "Changes for a second admin",
        "pending-changes",
        "policy waiting accept two approve",
        _is_admin,
    ),
    ("Kill switch", "stop", "stop emergency", _everybody),
    ("Alerts", "alerts", "discord slack notifications destinations", _everybody),
    ("Alert deliveries", "alert-log", "log discord slack", _everybody),
    ("Findings", "rules-findings", "rules risk weights points", _everybody),
    ("Own words", "own-words", "findings rules phrases patterns", _everybody),
    ("Set apart", "brakes", "floods brake runaway agents caps", _everybody),
    ("Caps", "caps", "limits brake messages an hour a day", _everybody),
    ("Allowlists", "allowlists", "allowed recipients", _everybody),
    ("Refused at the gate", "refusals", "allowlists blocked", _everybody),
    ("Policy", "policy", "rules approvals four eyes draft", _everybody),
    ("Policy: groups", "policy-groups", "approvers members rules", _everybody),
    (
        "Standing approvals",
        "standing",
        "policy earned trust proposals samples",
        _looks_after_people,
    ),
    ("Policy: playground", "policy-playground", "rules try test", _everybody),
    ("Policy: versions", "policy-versions", "rules history changes", _everybody),
    (
        "Policy: ready-made",
        "ready-made-policies",
        "rules templates small team agency regulated",
        _everybody,
    ),
    (
        "Review plans",
        "review-plans",
        "targets late calendar holidays duty escalation ladder",
        _everybody,
    ),
    ("Mailboxes", "mailboxes", "oversight", _everybody),
    (
        "Minimum oversight",
        "oversight-minimum",
        "mailboxes mode policy",
        _looks_after_people,
    ),
    ("Domains", "domains", "dns dkim", _looks_after_accounts),
    ("API keys", "api-keys", "agents tokens", _looks_after_accounts),
    ("Webhooks", "webhooks", "events", _looks_after_accounts),
    ("Connections", "connections", "multimail gateway", _everybody),
    ("People", "people", "persons roles users", _looks_after_people),
    ("Second factor", "second-factor", "2fa rules roles people", _is_admin_of_all),
    ("Set-up", "setup", "first run", _is_admin_of_all),
    ("Reports", "reports", "", _looks_after_people),
    (
        "Who decided what",
        "report-decisions",
        "report month unread speed figures people",
        may_read_reports,
    ),
    (
        "Who could decide where",
        "report-rights",
        "report roles date",
        _looks_after_people,
    ),
    ("Ledger status", "ledger-state", "seals verify check", _everybody),
    (
        "Your account",
        "account",
        "profile name time zone me out of office away keyboard shortcuts",
        _everybody,
    ),
    ("Your sessions", "sessions", "signed in devices", _everybody),
    ("Your second factors", "factors", "app passkey recovery codes 2fa", _everybody),
    ("Your Discord account", "own-discord", "link", _everybody),
]
ACTS: tuple[Place, ...] = (
    (
        "Pull the kill switch",
        "stop",
        "stop everything emergency",
        lambda actor: actor.has(Role.REVIEWER) or actor.has(Role.ADMIN),
    ),
    ("Add a connection", "add-connection", "new multimail gateway", _is_admin_of_all),
    ("Add a mailbox", "add-mailbox", "new create", _looks_after_accounts),
    ("Invite somebody", "invite", "new person user people", _is_admin),
    (
        "Add an alert destination",
        "add-destination",
        "new discord slack webhook",
        may_manage,
    ),
    ("Export history", "export", "download csv audit entries", _looks_after_people),
    ("Compare the ledger with a checkpoint", "ledger-state", "verify head", _everybody),
    (
        "Add a group to the policy",
        "add-policy-group",
        "new approvers rules",
        _is_admin_of_all,
    ),
    ("Change your password", "own-password", "", _everybody),
)


def entries_for(actor: Actor) -> Iterator[Entry]:
    """Yield every entry that this actor may use, kind by kind."""
    for label, name, more, may_use in PAGES:
        if may_use(actor):
            yield Entry(label, "Pages", reverse(name), more)
    queue = reverse("queue")
    for tab, label in TABS.items():
        if tab != "waiting":
            yield Entry(f"Queue: {label}", "Pages", f"{queue}?tab={tab}")
    for label, name, more, may in ACTS:
        if may(actor):
            yield Entry(label, "Actions", reverse(name), more)
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


@require_safe
def find(request: DeskRequest) -> HttpResponse:
    """List the entries that contain every word that was typed; all of them if nothing
    was.
    """
    typed = as_asked(request.GET.get("q"))
    words = words_of(typed)
    entries = [
        entry
        for entry in entries_for(request.actor)
        if all(word in entry.found_by for word in words)
    ]
    return render(request, "dashboard/find.html", {"typed": typed, "entries": entries})
