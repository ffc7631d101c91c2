"""The data of the page Needs attention: an item that needs a person, with its action,
and groups of items that have the same cause and can be handled at once.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.urls import reverse
from django.utils import timezone

from mirror.models import Message, WebhookEvent

REVIEWER = "a reviewer of its mailbox"
REVIEWER_OR_ADMIN = "a reviewer or an admin"
OPERATOR = "the operator of this desk"
# How many items of one group a page lists.
SHOWN = 50
# The labels of actions: on a single item, and on a whole group.
REPLAY = ("Replay", "Replay all {}")
READ_NOW = ("Read now", "Read all {} now")
TRY_AGAIN = ("Try again", "Try all {} again")
CHECK_AGAIN = ("Check again", "Check all {} again")
COMPARE = ("Compare with MultiMail", "Compare all {} with MultiMail")


@dataclass(frozen=True)
class Act:
    """The one safe action of an item: a button that posts to `url`, which has a label
    `for_all` items of a group; or, without that label, a link to a page on which to
    read and decide.
    """

    label: str
    url: str
    for_all: str = ""


@dataclass(frozen=True)
class AttentionItem:
    """One item: `what` is stuck, `since` when (None if that is not known), `why`, and as
    `advice` what to do about it. `act` is None if the person may not do it.

    `several` follows the number of a group of such items: "contents of Acme have not
    come yet". An item without it is in no group.
    """

    kind: str
    what: str
    since: datetime | None
    why: str
    advice: str
    act: Act | None = None
    message: Message | None = None
    event: WebhookEvent | None = None
    # Who may act, in words for those who may not.
    whose: str = REVIEWER_OR_ADMIN
    several: str = ""
    # How many things it counts.
    number: int = 1
    # The kinds of items that follow from it, and are not listed beside it.
    explains: Sequence[str] = ()
    # What was asked, to which `why` is the answer, and when.
    asked: str = ""
    asked_at: datetime = field(default_factory=timezone.now)
    # Whether somebody must act; otherwise only `doctor` shows it, for information.
    needs_action: bool = True

    @property
    def cause(self) -> tuple[str, ...]:
        """Return what the items of one group have in common."""
        return self.kind, self.several, self.why, self.advice


@dataclass(frozen=True)
class Group:
    """Items with the same cause, the oldest first; or a single item."""

    items: list[AttentionItem]

    @property
    def key(self) -> str:
        """Return the key of the group in URLs: a hash of its cause."""
        return hashlib.sha256("\0".join(self.first.cause).encode()).hexdigest()[:24]

    @property
    def first(self) -> AttentionItem:
        return self.items[0]

    @property
    def number(self) -> int:
        return len(self.items)

    @property
    def shown(self) -> list[AttentionItem]:
        """Return the items that a page lists: the oldest ones."""
        return self.items[:SHOWN]

    @property
    def hidden(self) -> int:
        return self.number - len(self.shown)

    @property
    def what(self) -> str:
        """Return the group as a sentence without its full stop."""
        if self.number == 1:
            return self.first.what
        return f"{self.number} {self.first.several}"

    @property
    def acts(self) -> list[AttentionItem]:
        """Return the items that the actor may act on."""
        return [one for one in self.items if one.act is not None]

    @property
    def act(self) -> Act | None:
        """Return the action for the whole group. If its items must be read one by one,
        it is the action of the oldest; None if the person may do nothing.
        """
        acts = [one.act for one in self.items if one.act is not None]
        if len(set(acts)) < 2 or not acts[0].for_all:
            return acts[0] if acts else None
        return replace(
            acts[0],
            label=acts[0].for_all.format(len(acts)),
            url=reverse("settle-group", args=[self.key]),
        )


def grouped(items: Iterable[AttentionItem]) -> list[Group]:
    """Return the items in groups of one cause, in the order of their first items."""
    groups: dict[object, list[AttentionItem]] = {}
    for number, one in enumerate(items):
        groups.setdefault(one.cause if one.several else number, []).append(one)
    return [Group(members) for members in groups.values()]


def named(message: Message) -> str:
    """Return the message's subject for use in a sentence."""
    subject = str(message)
    return f"“{subject[:80]}…”" if len(subject) > 80 else f"“{subject}”"
