"""The command palette: every page, mailbox, saved view, person and act elsewhere that a person may use.

It only lists addresses. Acts of an open message are buttons of its page, which the page's script adds to the list.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.urls import reverse
from django.utils.text import capfirst
from django.views.decorators.http import require_safe

from alerts.destinations.commands import may_manage
from alerts.models import Destination
from approvals.models import SavedView
from approvals.queue.filters import TABS
from approvals.reports.decisions import may_read_reports
from audit.search.saved import searches_of
from common.pages import DeskRequest, page_or_fragment
from common.search_field import as_asked
from common.words import words_of
from mirror.models import Connection, Mailbox
from people.actors import Actor, Role
from people.models import Person
from risk import RULES

# Of mailboxes, people and the like; whoever has more of one kind finds the rest on its page.
MOST = 1000


@dataclass(frozen=True)
class Entry:
    """One line of the palette. `more` are other words by which it is found."""

    label: str
    kind: str
    url: str
    more: str = ""

    @property
    def found_by(self) -> str:
        """The words of the label in one spelling; the page's script compares them with what is typed."""
        return spelled(self.label)

    @property
    def found_by_more(self) -> str:
        """The label, the kind and the other words in one spelling."""
        return spelled(f"{self.label} {self.kind} {self.more}")


# --- What there is --------------------------------------------------------------------------------------------------


def _everybody(actor: Actor) -> bool:
    return True


def _is_admin(actor: Actor) -> bool:
    return actor.has(Role.ADMIN)


def _may_stop(actor: Actor) -> bool:
    return actor.has(Role.REVIEWER) or actor.has(Role.ADMIN)


def _looks_after_people(actor: Actor) -> bool:
    return actor.looks_after_people


def _looks_after_accounts(actor: Actor) -> bool:
    return actor.looks_after_accounts


def _is_admin_of_all(actor: Actor) -> bool:
    return actor.is_admin_of_all


# Label, the address's name, other words, and who may use it.
Place = tuple[str, str, str, Callable[[Actor], bool]]
PAGES: tuple[Place, ...] = (
    ("Home", "home", "start overview figures", _everybody),
    ("Queue", "queue", "waiting inbox messages", _everybody),
    ("History", "history", "past decided sent", _everybody),
    ("Audit", "audit", "ledger log entries", _everybody),
    ("Needs attention", "attention", "stuck problems", _everybody),
    ("Changes for a second admin", "pending-changes", "policy waiting accept two approve", _is_admin),
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
    ("Standing approvals", "standing", "policy earned trust proposals samples", _looks_after_people),
    ("Policy: playground", "policy-playground", "rules try test", _everybody),
    ("Policy: versions", "policy-versions", "rules history changes", _everybody),
    ("Policy: ready-made", "ready-made-policies", "rules templates small team agency regulated", _everybody),
    ("Policy: practice messages", "practice", "planted test attention rules", _looks_after_people),
    ("Review plans", "review-plans", "targets late calendar holidays duty escalation ladder", _everybody),
    ("Mailboxes", "mailboxes", "oversight", _everybody),
    ("Minimum oversight", "oversight-minimum", "mailboxes mode policy", _looks_after_people),
    ("Domains", "domains", "dns dkim", _looks_after_accounts),
    ("API keys", "api-keys", "agents tokens", _looks_after_accounts),
    ("Webhooks", "webhooks", "events", _looks_after_accounts),
    ("Connections", "connections", "multimail gateway", _everybody),
    ("People", "people", "persons roles users", _looks_after_people),
    ("Second factor", "second-factor", "2fa rules roles people", _is_admin_of_all),
    ("Set-up", "setup", "first run", _is_admin_of_all),
    ("Reports", "reports", "", _looks_after_people),
    ("Who decided what", "report-decisions", "report month", may_read_reports),
    ("Is review real?", "report-review", "report unread speed practice samples figures people", may_read_reports),
    ("Who could decide where", "report-rights", "report roles date", _looks_after_people),
    ("Past exports", "exports", "audit history csv", _looks_after_people),
    ("Ledger status", "ledger-state", "seals verify check", _everybody),
    ("Your account", "account", "profile name time zone me out of office away keyboard shortcuts", _everybody),
    ("Your sessions", "sessions", "signed in devices", _everybody),
    ("Your second factors", "factors", "app passkey recovery codes 2fa", _everybody),
    ("Your Discord account", "own-discord", "link", _everybody),
)
ACTS: tuple[Place, ...] = (
    ("Pull the kill switch", "stop", "stop everything emergency", _may_stop),
    ("Add a connection", "add-connection", "new multimail gateway", _is_admin_of_all),
    ("Add a mailbox", "add-mailbox", "new create", _looks_after_accounts),
    ("Invite somebody", "invite", "new person user people", _is_admin),
    ("Add an alert destination", "add-destination", "new discord slack webhook", may_manage),
    ("Export history", "export", "download csv audit entries", _looks_after_people),
    ("Compare the ledger with a checkpoint", "ledger-state", "verify head", _everybody),
    ("Add a group to the policy", "add-policy-group", "new approvers rules", _is_admin_of_all),
    ("Change your password", "own-password", "", _everybody),
)


def entries_for(actor: Actor) -> list[Entry]:
    """Return every entry that this person may use: pages first, then acts, then what has names of its own."""
    fixed = [
        Entry(label, kind, reverse(name), more)
        for kind, places in (("Page", PAGES), ("Action", ACTS))
        for label, name, more, may in places
        if may(actor)
    ]
    queue = reverse("queue")
    tabs = [Entry(f"Queue: {label}", "Page", f"{queue}?tab={tab}") for tab, label in TABS.items() if tab != "waiting"]
    rules = [Entry(capfirst(one.words), "Finding", reverse("rule", args=[one.name])) for one in RULES.values()]
    return [*fixed, *tabs, *_named(actor, queue), *rules]


def _named(actor: Actor, queue: str) -> Iterator[Entry]:
    """Yield what people named: mailboxes, connections, views, searches, people and destinations."""
    mailboxes = Mailbox.objects.visible_to(actor).filter(connection__removed_at=None).there()[:MOST]
    for box in mailboxes:
        yield Entry(f"Messages of {box}", "Mailbox", f"{queue}?mailbox={box.pk}", "queue")
    for box in mailboxes:
        yield Entry(f"Settings of {box}", "Mailbox", reverse("mailbox", args=[box.pk]), "undo expiry oversight")
    for view in SavedView.objects.usable_by(actor)[:MOST]:
        yield Entry(view.name, "Saved view", f"{queue}?{view.query}", "queue")
    for search in searches_of(actor)[:MOST]:
        yield Entry(search.name, "Saved search", f"{reverse('audit')}?{search.query}", "audit ledger")
    for person in Person.objects.read_by(actor).filter(is_active=True).order_by("name", "email")[:MOST]:
        yield Entry(str(person), "Person", reverse("person", args=[person.pk]), person.email)
    named = Connection.objects.visible_to(actor).at_work().order_by("name")
    for key, name in named.values_list("pk", "name")[:MOST]:
        yield Entry(name, "Connection", reverse("connection", args=[key]), "multimail account")
    if may_manage(actor):
        for one in Destination.objects.not_removed().order_by("name")[:MOST]:
            yield Entry(str(one), "Alert destination", reverse("destination", args=[one.pk]), "discord slack")


# --- Finding it by a few letters ------------------------------------------------------------------------------------


def spelled(text: str) -> str:
    """Return the words of a text without accents, case and signs, with a space between them."""
    return " ".join(words_of(text))


def rank(entry: Entry, typed: str) -> tuple[int, int] | None:
    """Return how well an entry fits what was typed, the best first; None where it does not. palette.js does the same.

    It begins so (0), a word of it does (1), every word that was typed begins one of its own (2) or of its other words
    (3), it stands somewhere in it (4), or its letters follow one another from the beginning of a word (5).
    """
    label = entry.found_by
    if label.startswith(typed):
        return 0, len(label)
    if f" {typed}" in label:
        return 1, label.index(f" {typed}")
    for place, text in ((2, label), (3, entry.found_by_more)):
        if all(f" {word}" in f" {text}" for word in typed.split()):
            return place, 0
    if typed in label:
        return 4, label.index(typed)
    span = _span(label, typed.replace(" ", ""))
    return None if span is None else (5, span)


def _span(label: str, letters: str) -> int | None:
    """Return over how many characters these letters follow one another, from the beginning of a word on."""
    spans = []
    for start in range(len(label)):
        if label[start] != letters[0] or (start and label[start - 1] != " "):
            continue
        place = start
        for letter in letters[1:]:
            place = label.find(letter, place + 1)
            if place < 0:
                break
        else:
            spans.append(place - start)
    span = min(spans, default=None)
    # Further apart, any letters are found in any long name.
    return span if span is not None and span <= 4 * len(letters) else None


def best_of(entries: Iterable[Entry], typed: str) -> list[Entry]:
    """Return the entries that fit what was typed, the best first; all of them where nothing was."""
    asked = spelled(typed)
    if not asked:
        return list(entries)
    ranked = [(found, entry) for entry in entries if (found := rank(entry, asked)) is not None]
    return [entry for _, entry in sorted(ranked, key=lambda one: one[0])]


# --- Its page -------------------------------------------------------------------------------------------------------


@login_required
@require_safe
def find(request: DeskRequest) -> HttpResponse:
    """List what the person may use; as a dialog's content for the page's script, which searches in it by itself."""
    typed = as_asked(request.GET.get("q"))
    found = best_of(entries_for(request.actor), typed)
    context = {"typed": typed, "entries": found, "groups": _groups(found, typed)}
    return page_or_fragment(request, page="dashboard/find.html", fragment="dashboard/_palette.html", context=context)


def _groups(found: Sequence[Entry], typed: str) -> list[tuple[str, list[Entry]]]:
    """Return the entries by kind; what was searched for stands in one list, the best first."""
    if spelled(typed):
        return [("", list(found))] if found else []
    order = list(_GROUPS)
    by_kind = sorted(found, key=lambda entry: order.index(entry.kind))
    return [(_GROUPS[kind], list(entries)) for kind, entries in groupby(by_kind, key=lambda entry: entry.kind)]


_GROUPS = {
    "Page": "Pages",
    "Action": "Actions",
    "Mailbox": "Mailboxes",
    "Saved view": "Saved views",
    "Saved search": "Saved searches of the ledger",
    "Person": "People",
    "Connection": "Connections",
    "Alert destination": "Alert destinations",
    "Finding": "Findings",
}
