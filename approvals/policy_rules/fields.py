"""The fields of the rule editor in their sections, for its template: labels, what is offered, typed and wrong."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from approvals.policy_rules.rule_form import RISKS, UNITS, Offered
from policy.calendars.weekly import DAYS, NOTE
from policy.rules.effects import ANY_REVIEWER

# A list of more options than these scrolls.
LONG = 12


@dataclass(frozen=True)
class Option:
    """One value to choose, and whether it is chosen."""

    value: str
    label: str
    is_chosen: bool


@dataclass(frozen=True)
class Field:
    """One field. `kind` is checks, choice, flag, lines, long, moment, number or text."""

    name: str
    label: str
    kind: str
    note: str = ""
    value: str = ""
    options: tuple[Option, ...] = ()
    error: str = ""

    @property
    def is_set(self) -> bool:
        """Whether something is chosen or typed."""
        return bool(self.value) or (self.kind == "checks" and any(one.is_chosen for one in self.options))

    @property
    def opens(self) -> bool:
        """Whether what is set opens its section: of a choice only a calendar, as others always have a value."""
        return self.kind != "choice" or self.name.endswith("_calendar")


def options_of(offered: Mapping[str, str], chosen: Collection[str]) -> tuple[Option, ...]:
    """Return values and labels as options."""
    return tuple(Option(value, label, value in chosen) for value, label in offered.items())


def checks_of(offered: Mapping[str, str], chosen: Collection[str]) -> tuple[Option, ...]:
    """Return values and labels as boxes to tick; in a list that scrolls the ticked ones are first."""
    options = options_of(offered, chosen)
    return tuple(sorted(options, key=lambda one: not one.is_chosen)) if len(options) > LONG else options


@dataclass(frozen=True)
class Section:
    """Fields under one heading. It is open where something in it is set or wrong."""

    name: str
    title: str
    part: str
    fields: tuple[Field, ...]
    note: str = ""
    # Whether it is open also while it is empty.
    is_first: bool = False

    @property
    def is_open(self) -> bool:
        """Whether its fields are shown at once."""
        return self.is_first or any(one.error or (one.is_set and one.opens) for one in self.fields)


@dataclass
class _Maker:
    """Makes fields from what is typed, offered and wrong."""

    typed: Mapping[str, Any]
    offered: Offered
    wrong: Mapping[str, str]

    def make(self, name: str, label: str, kind: str = "checks", note: str = "", options: Any = None) -> Field:
        typed = self.typed.get(name)
        values = [str(one) for one in typed] if isinstance(typed, list) else [str(typed)] if typed else []
        offered = options if options is not None else self.offered.of(name)
        shown = (checks_of if kind == "checks" else options_of)(offered, values)
        value = "" if kind == "checks" else (values[-1] if values else "")
        return Field(name, label, kind, note, value, shown, self.wrong.get(name, ""))

    def hours(self, name: str) -> tuple[Field, ...]:
        """Return the fields of hours: a calendar to choose, or a line for each day and their time zone."""
        calendars = {"": "The hours below", **self.offered.of("calendars")}
        notes = dict.fromkeys(range(7), "") | {6: NOTE}
        return (
            self.make(f"{name}_calendar", "Calendar", "choice", "Its holidays count.", calendars),
            *(self.make(f"{name}_day{day}", words, "text", notes[day]) for day, words in enumerate(DAYS)),
            self.make(f"{name}_zone", "Time zone", "text", "Such as Europe/Lisbon, or a city. Empty is UTC."),
        )


def sections_of(typed: Mapping[str, Any], offered: Offered, wrong: Mapping[str, str]) -> list[Section]:
    """Return the sections of the editor: first what the rule is called, then when it applies, then what it asks for."""
    make = _Maker(typed, offered, wrong)
    people = {"": "Nobody", **offered.of("owner")}
    about = (
        make.make("name", "Name", "text"),
        make.make("owner", "Owner", "choice", "Who answers for the rule.", people),
        make.make("note", "Note", "long", "Why there is this rule."),
    )
    return [Section("about", "The rule", "about", about, is_first=True), *_when(make), *_then(make)]


def _when(make: _Maker) -> list[Section]:
    one_fits = "Of several, one that fits is enough."
    sender = (
        make.make("mailboxes", "Mailboxes", note=one_fits),
        make.make("keys", "API keys", note="Those that sent something in the last 30 days, or have an owner."),
        make.make("key_owners", "Owners of the API key"),
        make.make("origins", "Origin"),
        make.make("tries_from", "Try number, at least", "number", "2: changes were requested once before."),
    )
    addresses = "An address, a domain or *.domain on each line."
    recipients = (
        make.make("recipients", "Goes to any of these", "lines", addresses),
        make.make("recipients_except", "Goes to anybody other than these", "lines", addresses),
        make.make("lists", "Goes to anybody on these allowlists"),
        make.make("first_contact", "Goes to somebody for the first time", "flag"),
        make.make("recipients_from", "Number of recipients, at least", "number"),
    )
    content = (
        make.make("risk", "Risk", "choice", options=RISKS),
        make.make("findings", "Findings"),
        make.make("own_words", "Own words"),
        make.make("amount", "An amount of at least", "text", "0 for any amount."),
        make.make("currency", "Currency", "text", "Such as EUR; empty for any."),
        make.make("attachments", "Attachments"),
    )
    return [
        Section("sender", "Where it comes from", "when", sender),
        Section("recipients", "Who gets it", "when", recipients),
        Section("content", "What is in it", "when", content),
        Section("during", "During these hours", "when", make.hours("during")),
        Section("outside", "Outside these hours", "when", make.hours("outside")),
    ]


def _then(make: _Maker) -> list[Section]:
    whose = {ANY_REVIEWER: "any reviewer", **make.offered.groups}
    approvals = tuple(make.make(f"approvals_{group}", f"Of {name}", "number") for group, name in whose.items())
    who_not = (
        make.make("barred_groups", "Nobody of these groups"),
        make.make("bar_editor", "Not whoever edited it last", "flag"),
    )
    how = (
        make.make("reauthenticate", "Whoever approves signs in again first", "flag"),
        make.make("never_in_bulk", "Never in bulk", "flag"),
        make.make("high_risk_page", "On the high-risk page", "flag"),
    )
    ends = (
        make.make("expire_number", "Expires after", "number"),
        make.make("expire_unit", "Unit", "choice", options=UNITS),
    )
    rejects = (make.make("reject", "Reject it, with this reason", "text", "The agent reads it."),)
    return [
        Section("approvals", "Approvals", "then", approvals, "One person counts for one group only.", is_first=True),
        Section("who_not", "Who may not approve", "then", who_not),
        Section("how", "How it is approved", "then", how),
        Section("office", "Only within these hours", "then", make.hours("office"), "Approved and sent only then."),
        Section("ends", "Expiry", "then", ends, "An expired message is rejected, never sent."),
        Section("rejects", "Rejection", "then", rejects),
    ]
