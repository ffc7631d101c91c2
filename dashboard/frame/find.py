"""Find: every page, mailbox, saved view, person and act elsewhere that a person may
use, and the messages that they may see, found by words.

What can be done with an open message is not listed: that message's page has the
buttons.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter

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
from common.tables import table_rows
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


# Who may use a page or an act, by the word for it in the tables below.
_RIGHTS: dict[str, Callable[[Actor], bool]] = {
    "everybody": lambda actor: True,
    "policy": attrgetter("looks_after_policy"),
    "people": attrgetter("looks_after_people"),
    "accounts": attrgetter("looks_after_accounts"),
    "admin": attrgetter("is_admin_of_all"),
    "alerts": attrgetter("is_admin_of_all"),
    "switch": lambda actor: actor.has(Role.REVIEWER) or actor.has(Role.ADMIN),
}
# A page: its label, its URL's name, other words by which it is found, and a function
# that tells whether an actor may use it.
Place = tuple[str, str, str, Callable[[Actor], bool]]


def _places(table: str) -> list[Place]:
    return [
        (label, name, more, _RIGHTS[right])
        for label, name, right, more in table_rows(table)
    ]


PAGES = _places(
    """
Home | home | everybody | start overview figures
Queue | queue | everybody | waiting inbox messages
Notices | notices | everybody | inbox bell told mentions assigned
History | history | everybody | past decided sent
Audit | audit | everybody | ledger log entries
Needs attention | attention | everybody | stuck problems
Changes for a second admin | pending-changes | policy | policy waiting accept two approve
Kill switch | stop | everybody | stop emergency
Alerts | alerts | everybody | discord slack notifications destinations
Alert deliveries | alert-log | everybody | log discord slack
Findings | rules-findings | everybody | rules risk
Over limit | brakes | everybody | floods brake runaway agents caps set apart
Limits | caps | everybody | caps brake messages an hour a day
Allowlists | allowlists | everybody | allowed recipients
Policy | policy | everybody | rules passes approvals four eyes draft versions minimum oversight
Policy: try | try-policy | everybody | rules test rehearse draft
Policy: groups and hours | groups-and-hours | everybody | approvers members rules calendars holidays
Review plans | review-plans | everybody | targets late duty escalation ladder
Mailboxes | mailboxes | everybody | oversight
Domains | domains | accounts | dns dkim
API keys | api-keys | accounts | agents tokens
Webhooks | webhooks | accounts | events
Connections | connections | everybody | multimail gateway
People | people | people | persons roles users
Second factor | second-factor | admin | 2fa rules roles people
Set-up | setup | admin | first run
Reports | reports | people |
Who decided what | report-decisions | people | report month unread speed figures people
Who could decide where | report-rights | people | report roles date
Ledger status | ledger-state | everybody | seals verify check
Your account | account | everybody | profile name time zone me out of office away keyboard shortcuts
Your sessions | sessions | everybody | signed in devices
Your second factors | factors | everybody | app passkey recovery codes 2fa
Your chat accounts | own-chat-accounts | everybody | discord slack link
"""
)
ACTS = _places(
    """
Pull the kill switch | stop | switch | stop everything emergency
Add a connection | add-connection | admin | new multimail gateway
Add a mailbox | add-mailbox | accounts | new create
Invite somebody | invite | policy | new person user people
Add an alert destination | add-destination | alerts | new discord slack webhook
Export history | export | people | download csv audit entries
Compare the ledger with a checkpoint | ledger-state | everybody | verify head
Add a group to the policy | add-policy-group | admin | new approvers rules
Change your password | own-password | everybody |
"""
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
