"""An item that needs a person, and groups of items with one cause: each with one safe
action.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from mirror.models import Message, WebhookEvent

REVIEWER = "a reviewer of its mailbox"
REVIEWER_OR_ADMIN = "a reviewer or an admin"
# How many items of one group a page lists.
SHOWN = 50
# The label of an item's action for all items of its group.
_FOR_ALL = {
    "Replay": "Replay all {}",
    "Try again": "Try all {} again",
    "Check again": "Check all {} again",
    "Compare with MultiMail": "Compare all {} with MultiMail",
}


@dataclass(frozen=True)
class Act:
    """The one safe action: a button that posts, or a link to a page to read before
    deciding.
    """

    label: str
    url: str
    posts: bool = False


@dataclass(frozen=True)
class AttentionItem:
    """One item. `advice` says what to do as a sentence; `act` is None for those who may
    not do it.

    `several` is what more of one cause are called after their number: "contents of Acme
    have not come yet". An item without it stands by itself.
    """

    kind: str
    what: str
    since: datetime
    why: str
    advice: str
    act: Act | None = None
    message: Message | None = None
    event: WebhookEvent | None = None
    # Who may act, where the actor may not.
    whose: str = REVIEWER_OR_ADMIN
    several: str = ""

    @property
    def cause(self) -> tuple[str, ...]:
        """Return what items of one group have in common."""
        return self.kind, self.several, self.why, self.advice


@dataclass(frozen=True)
class Group:
    """Items of one cause, the oldest first; a single item is a group too."""

    items: list[AttentionItem]

    @property
    def key(self) -> str:
        """Return the cause's key in URLs: the same as long as there are items of it."""
        return hashlib.sha256("\0".join(self.first.cause).encode()).hexdigest()[:24]

    @property
    def first(self) -> AttentionItem:
        return self.items[0]

    @property
    def number(self) -> int:
        return len(self.items)

    @property
    def shown(self) -> list[AttentionItem]:
        """Return the oldest items, as far as a page lists them."""
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
        """Return the one action for the group; where items must be read one by one, for
        the oldest.
        """
        acts = [one.act for one in self.items if one.act is not None]
        if len(set(acts)) < 2 or not acts[0].posts:
            return acts[0] if acts else None
        return Act(
            _FOR_ALL[acts[0].label].format(len(acts)),
            reverse("settle-group", args=[self.key]),
            posts=True,
        )


def grouped(items: Iterable[AttentionItem]) -> list[Group]:
    """Return items by their cause, in the order in which the first of each came."""
    groups: dict[object, list[AttentionItem]] = {}
    for number, one in enumerate(items):
        groups.setdefault(one.cause if one.several else number, []).append(one)
    return [Group(found) for found in groups.values()]


def named(message: Message) -> str:
    """Return the message's subject for use in a sentence."""
    subject = str(message)
    return f"“{subject[:80]}…”" if len(subject) > 80 else f"“{subject}”"
