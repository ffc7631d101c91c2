"""What the queue shows, and in which order: one value that is read from an address and written back into one.

Pure: no models and no database. `forms.QueueForm` reads addresses with it, `MessageQuerySet.matching` applies it.
"""

from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from approvals.queue.positions import Place
from common.search_field import Grammar, Typed, read_typed

TABS = {
    "waiting": "Waiting",
    "mine": "Mine",
    "leaving": "Sending",
    "unknown": "Unconfirmed",
    "failed": "Failed",
    "done": "Done",
}
# Past the desk, the newest comes first.
NEWEST_FIRST = ("failed", "done")
ORDERS = {"oldest": "Oldest first", "riskiest": "Riskiest first", "soonest": "Soonest to expire"}
GROUPS = {
    "": "Floods only",
    "alike": "Alike",
    "thread": "Thread",
    "run": "Run",
    "trigger": "Who started it",
    "none": "Nothing",
}
RISKS = {"high": "High", "notice": "Notice", "none": "Nothing seen"}

# The fields of an address that narrow a tab, by what they are called there.
NARROWING = {
    "q": "text",
    "to": "to",
    "from": "from_",
    "by": "by",
    "rule": "rule",
    "risk": "risk",
    "mailbox": "mailbox",
    "has": "has",
    "started": "started",
    "thread": "thread",
    "run": "run",
    "alike": "alike",
}
# Those that can be typed into the search field, as `to:dana`.
TOKENS = ("to", "from", "mailbox", "risk", "by", "has", "rule")
_KNOWN = "Filters are to:, from:, mailbox:, risk:, by:, has:attachment and rule:."
_GRAMMAR = Grammar(tokens=TOKENS, gathered=("to", "from", "by"), known=_KNOWN)


@dataclass(frozen=True)
class Filters:
    """The state of the queue as its address holds it; what is left out narrows nothing."""

    tab: str = "waiting"
    text: str = ""
    to: str = ""
    from_: str = ""
    by: str = ""
    rule: str = ""
    risk: str = ""
    mailbox: int | None = None
    has: str = ""
    # One group's own: exactly this one.
    started: str = ""
    thread: str = ""
    run: str = ""
    alike: str = ""
    order: str = "oldest"
    group: str = ""
    after: Place | None = None
    # Sentences about what was typed and could not be meant.
    remarks: tuple[str, ...] = field(default=(), compare=False)

    @property
    def has_attachment(self) -> bool:
        """Whether only letters with files are asked for."""
        return self.has == "attachment"

    @property
    def narrows(self) -> bool:
        """Whether the tab shows less than all that stands in it."""
        return any(getattr(self, name) for name in NARROWING.values())

    @property
    def searches(self) -> bool:
        """Whether words are looked up."""
        return bool(self.text or self.to or self.from_ or self.by)

    @property
    def newest_first(self) -> bool:
        """Whether the tab has an order of its own."""
        return self.tab in NEWEST_FIRST

    @property
    def gathers_floods(self) -> bool:
        """Whether many of one kind stand in one row by themselves, which nobody asked for."""
        plain = self.tab == "waiting" and not self.group and self.order != "soonest"
        return plain and not (self.searches or self.alike or self.thread or self.run)

    def query(self, **changes: Any) -> str:
        """Return the address's query string in its one spelling; a change goes back to the first page."""
        if changes:
            return replace(self, **{"after": None, **changes}).query()
        told: dict[str, Any] = {"tab": "" if self.tab == "waiting" else self.tab}
        told |= {written: getattr(self, name) for written, name in NARROWING.items()}
        told |= {"order": "" if self.order == "oldest" else self.order, "group": self.group, "after": self.after}
        return urlencode({name: str(value) for name, value in told.items() if value})

    def without(self, name: str) -> str:
        """Return the query string with one filter less, named as the address names it."""
        return self.query(**{NARROWING[name]: None if name == "mailbox" else ""})

    def cleared(self) -> str:
        """Return the query string of the same tab and order with nothing left out."""
        return Filters(tab=self.tab, order=self.order, group=self.group).query()


def read_search(typed: str) -> Typed:
    """Take what was typed into the queue's search field apart."""
    return read_typed(typed, _GRAMMAR)
