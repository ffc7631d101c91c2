"""The form for one rule of the policy, in sections. A valid form gives a `PolicyRule`;
each wrong entry gets a sentence that says why.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.db.models.functions import Lower
from django.utils.text import capfirst

from common.actors import Actor
from common.pages import MultilineField, SentenceForm, choices_by_pk, same_error
from common.tables import table_pairs, table_rows
from mirror.attachments.file_types import KINDS
from mirror.models import Mailbox
from people.models import Person
from policy.models import Allowlist, Group, WorkCalendar
from policy.rules.conditions import (
    FAMILIES,
    MOST_RECIPIENTS,
    MOST_TRIES,
    ORIGINS,
    Conditions,
    read_entry,
)
from policy.rules.names import FINDINGS, api_keys
from policy.rules.rules import (
    ANY_REVIEWER,
    MOST_APPROVALS,
    MOST_MINUTES,
    MOST_WORDS,
    Effects,
    Names,
    PolicyRule,
    RuleError,
)
from risk.words import read_phrase

# Characters of a field with one address on each line.
MAX_LINES = 20_000
# The units of an expiry, by their minutes.
UNITS = {"1": "minutes", "60": "hours", "1440": "days"}
RISKS = {"": "Any or none", "notice": "At least a notice", "high": "High"}
# A list with more options than this scrolls.
LONG = 12
# The fields of a rule with their labels, by the kind of field: conditions with a list
# of choices, help texts of these, and effects with a list of choices.
_LISTS = table_pairs(
    """
mailboxes | Mailboxes
keys | API keys
key_owners | Owners of the API key
lists | Goes to anybody on these allowlists
findings | Findings
attachments | Attachments
origins | Origin
"""
)
_NOTES = {
    "mailboxes": "Of several, one that fits is enough.",
    "keys": "Those that sent something in the last 30 days, or have an owner.",
}
_EFFECTS = {
    "barred_groups": "Nobody of these groups",
    "office_hours": "Only within the hours of",
}
# The lists whose choices are primary keys; those of the others are text.
_OF_KEYS = ("mailboxes", "key_owners", "lists", *_EFFECTS)
# The conditions that a rule stores as the form cleans them.
_AS_TYPED = """
    only_these recipients recipients_except recipients_from first_contact
    risk words amount metadata tries_from
""".split()
# The sections of the editor: what the rule is called ("about"), when it applies
# ("when"), what it asks for ("then"). Each has its name, title, part, fields and note.
# The section "approvals" gets a field for each group.
_SECTIONS = table_rows(
    """
about | The rule | about | name owner note |
sender | Where it comes from | when | mailboxes keys only_these key_owners origins metadata tries_from |
recipients | Who gets it | when | recipients recipients_except lists first_contact recipients_from |
content | What is in it | when | risk findings words amount currency attachments |
approvals | Approvals | then |  | One person counts for one group only.
who_not | Who may not approve | then | barred_groups bar_editor |
how | How it is approved | then | care | After signing in again, on a page of its own, never in bulk.
office | Hours | then | office_hours | Approved and sent only within the hours of all of these calendars.
ends | Expiry | then | expire_number expire_unit | An expired message is rejected, never sent.
rejects | Rejection | then | reject |
"""
)
CHOOSE = same_error("Choose from the list.") | {"invalid_list": "Choose from the list."}
_ADDRESSES = "An address, a domain or *.domain on each line."


def offered_to(
    actor: Actor, rule: PolicyRule | None, names: Names
) -> dict[str, dict[str, str]]:
    """Return the choices of each field, by the field's name: values with their labels.
    What the rule names stays a choice, even if it no longer exists.
    """
    mailboxes = Mailbox.objects.at_work().visible_to(actor).order_by("address")
    keys = sorted(api_keys(actor).items(), key=lambda pair: pair[1].casefold())
    people = Person.objects.filter(is_active=True).order_by("name", "email")
    groups = Group.objects.all()
    calendars = WorkCalendar.objects.order_by("name")
    lists = Allowlist.objects.visible_to(actor).order_by(Lower("name"))
    attachments = {name: capfirst(words) for name, words in FAMILIES.items()}
    attachments |= {kind.name: capfirst(kind.words) for kind in KINDS.values()}
    offered = {
        "mailboxes": choices_by_pk(mailboxes),
        "keys": dict(keys),
        "key_owners": choices_by_pk(people),
        "owner": choices_by_pk(people),
        "lists": choices_by_pk(lists),
        "findings": {name: capfirst(words) for name, words in FINDINGS.items()},
        "origins": {name: capfirst(words) for name, words in ORIGINS.items()},
        "attachments": attachments,
        "groups": choices_by_pk(groups),
        "barred_groups": choices_by_pk(groups),
        "office_hours": choices_by_pk(calendars),
    }
    if rule is None:
        return offered
    known_labels: Mapping[str, Mapping[Any, str]] = {
        "mailboxes": names.mailboxes,
        "keys": names.keys,
        "key_owners": names.people,
        "lists": names.lists,
        "barred_groups": names.groups,
        "office_hours": names.calendars,
    }
    values_in_rule: dict[str, Iterable[Any]] = {
        name: getattr(rule.when, name) for name in _LISTS
    }
    values_in_rule |= {name: getattr(rule.then, name) for name in _EFFECTS}
    for name, values in values_in_rule.items():
        for value in values:
            label = known_labels.get(name, {}).get(value) or str(value)
            offered[name].setdefault(str(value), f"{label} (gone)")
    for group in rule.then.named_groups:
        offered["groups"].setdefault(str(group), f"group {group} (gone)")
    if rule.owner is not None:
        left = f"{names.people.get(rule.owner, rule.owner)} (left)"
        offered["owner"].setdefault(str(rule.owner), left)
    return offered


@dataclass(frozen=True)
class Section:
    """The fields of the editor under one heading. It is open if a field in it is set or
    wrong.
    """

    name: str
    title: str
    part: str
    fields: Sequence[forms.BoundField]
    note: str = ""

    @property
    def is_open(self) -> bool:
        """Whether its fields are shown at once. Drop-down lists are ignored, because
        they always have a value.
        """
        if self.name in ("about", "approvals"):
            return True
        return any(
            one.errors or (one.widget_type != "select" and one.value())
            for one in self.fields
        )


class PatternsField(MultilineField):
    """Addresses and domains, one on each line, cleaned to the form in which rules
    compare them.
    """

    widget = forms.Textarea(attrs={"spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(sorted(value)) if isinstance(value, frozenset) else value

    def clean(self, value: Any) -> frozenset[str]:
        lines = _lines(super().clean(value).replace(",", "\n"))
        if len(lines) > 500:
            raise forms.ValidationError(
                "At most 500 addresses and domains fit into one rule: use an allowlist."
            )
        try:
            return frozenset(map(read_entry, lines))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


class WordsField(PatternsField):
    """Words, phrases and patterns, one on each line, as they are typed."""

    def clean(self, value: Any) -> frozenset[str]:
        lines = _lines(MultilineField.clean(self, value))
        if len(lines) > MOST_WORDS:
            raise forms.ValidationError(f"A rule names at most {MOST_WORDS} words.")
        words = set()
        for line in lines:
            try:
                words.add(read_phrase(line).text)
            except ValueError as error:
                raise forms.ValidationError(f"“{line[:40]}”: {error}") from None
        return frozenset(words)


def _lines(typed: str) -> list[str]:
    return [one.strip() for one in typed.split("\n") if one.strip()]


class ChecksField(forms.TypedMultipleChoiceField):
    """A list of choices as checkboxes."""

    widget = forms.CheckboxSelectMultiple

    def prepare_value(self, value: Any) -> list[str]:
        return [str(one) for one in value or ()]


def tick_first(field: forms.BoundField) -> None:
    """Put the ticked choices first, if the list is so long that it scrolls."""
    boxes: Any = field.field
    ticked = field.value() or ()
    if len(boxes.choices) > LONG:
        boxes.choices = sorted(boxes.choices, key=lambda one: one[0] not in ticked)


class PartForm(SentenceForm):
    """What the forms of rules and passes have in common."""

    name = forms.CharField(
        label="Name",
        max_length=80,
        error_messages={
            "required": "Give it a name.",
            "max_length": "Keep the name under 80 characters.",
        },
    )
    note = MultilineField(
        label="Note",
        help_text="What it is for.",
        required=False,
        max_length=1000,
        error_messages={"max_length": "Keep the note under 1,000 characters."},
        widget=forms.Textarea,
    )


class RuleForm(PartForm):
    """The form of one rule. Once it is valid, `rule()` returns the rule."""

    only_these = forms.BooleanField(
        label="Only these mailboxes and API keys",
        help_text="Else also those that are added to their connections later.",
        required=False,
    )
    metadata = forms.RegexField(
        r"\A[^\s=]+=\S.*\Z",
        label="Metadata",
        help_text="Such as tier=gold. It also applies where the sender did not write that name.",
        required=False,
        max_length=300,
        error_messages=same_error("Write name=value, without blanks around “=”."),
    )
    recipients = PatternsField(
        label="Goes to any of these",
        help_text=_ADDRESSES,
        required=False,
        max_length=MAX_LINES,
    )
    recipients_except = PatternsField(
        label="Goes to anybody other than these",
        help_text=_ADDRESSES,
        required=False,
        max_length=MAX_LINES,
    )
    first_contact = forms.BooleanField(
        label="Goes to somebody for the first time", required=False
    )
    risk = forms.ChoiceField(
        label="Risk",
        required=False,
        choices=list(RISKS.items()),
        error_messages=CHOOSE,
    )
    words = WordsField(
        label="Words",
        help_text=(
            "A word or phrase on each line. It is looked for in subject, text, names of files, names and addresses. "
            "In a word, * is any letters and digits or none, ? one of them, # one digit."
        ),
        required=False,
        max_length=MAX_LINES,
    )
    amount = forms.CharField(
        label="An amount of at least",
        help_text="0 for any amount.",
        required=False,
        max_length=40,
    )
    currency = forms.RegexField(
        r"\A[A-Za-z]{3}\Z",
        label="Currency",
        help_text="Such as EUR; empty for any.",
        required=False,
        error_messages={"invalid": "Write three letters, such as EUR."},
    )
    bar_editor = forms.BooleanField(label="Not whoever edited it last", required=False)
    care = forms.BooleanField(label="With care", required=False)
    reject = forms.CharField(
        label="Reject it, with this reason",
        help_text="The agent reads it.",
        required=False,
        max_length=300,
        error_messages={"max_length": "Keep the reason under 300 characters."},
    )
    expire_unit = forms.ChoiceField(
        label="Unit",
        required=False,
        choices=list(UNITS.items()),
        error_messages=CHOOSE,
    )
    # The digest of the rule that was previewed: only that rule can be saved.
    previewed = forms.CharField(required=False, max_length=64)

    def __init__(
        self,
        data: Any,
        *,
        offered: Mapping[str, Mapping[str, str]],
        stored: PolicyRule | None,
        initial: dict[str, Any],
    ) -> None:
        super().__init__(data, initial=initial)
        self.stored = stored
        for name, label in (*_LISTS.items(), *_EFFECTS.items()):
            self.fields[name] = ChecksField(
                label=label,
                help_text=_NOTES.get(name, ""),
                required=False,
                choices=list(offered[name].items()),
                coerce=int if name in _OF_KEYS else str,
                error_messages=CHOOSE,
            )
            tick_first(self[name])
        self.fields["owner"] = forms.TypedChoiceField(
            label="Owner",
            help_text="Who answers for the rule.",
            required=False,
            choices=[("", "Nobody"), *offered["owner"].items()],
            coerce=int,
            empty_value=None,
            error_messages=CHOOSE,
        )
        self.approvals = {
            str(ANY_REVIEWER): "any reviewer, in all",
            **offered["groups"],
        }
        for group, name in self.approvals.items():
            self.fields[f"approvals_{group}"] = whole_number(
                MOST_APPROVALS, f"Of {name}", least=0
            )
        self.fields["recipients_from"] = whole_number(
            MOST_RECIPIENTS, "Number of recipients, at least"
        )
        again = "2: changes were requested once before."
        self.fields["tries_from"] = whole_number(
            MOST_TRIES, "Try number, at least", again
        )
        self.fields["expire_number"] = whole_number(MOST_MINUTES, "Expires after")

    def sections(self) -> list[Section]:
        """Return the sections of the editor with their fields, in order."""
        approvals = [f"approvals_{group}" for group in self.approvals]
        return [
            Section(
                name,
                title,
                part,
                [self[one] for one in fields.split() or approvals],
                note,
            )
            for name, title, part, fields, note in _SECTIONS
        ]

    def clean_amount(self) -> Decimal | None:
        typed = str(self.cleaned_data["amount"]).replace(" ", "").replace("'", "")
        if not typed:
            return None
        try:
            amount = Decimal(typed)
        except InvalidOperation:
            amount = Decimal("NaN")
        # "1.000" may mean a thousand.
        if (
            not amount.is_finite()
            or not 0 <= amount < 10**15
            or len(typed.partition(".")[2]) > 2
        ):
            raise forms.ValidationError(
                "Write an amount such as 1000 or 49.90; 0 is any amount."
            )
        return amount

    def clean(self) -> None:
        cleaned = self.cleaned_data
        has_amount = cleaned.get("amount") is not None or "amount" in self.errors
        if cleaned.get("currency") and not has_amount:
            self.add_error(
                "amount", "Write the amount that is in this currency; 0 is any amount."
            )
        minutes = (cleaned.get("expire_number") or 0) * int(
            cleaned.get("expire_unit") or 60
        )
        if minutes > MOST_MINUTES:
            self.add_error("expire_number", "A message can wait for a year at most.")
        cleaned["expire_minutes"] = minutes or None
        approvals = {}
        for group in self.approvals:
            if number := cleaned.get(f"approvals_{group}"):
                approvals[int(group)] = number
        cleaned["approvals"] = approvals
        if sum(approvals.values()) > MOST_APPROVALS:
            self.add_error(
                "approvals_0",
                f"No more than {MOST_APPROVALS} approvals can be asked for together.",
            )
        if not self.errors:
            try:
                self.rule(rule_id="new")
            except RuleError:
                self.add_error(
                    "approvals_0",
                    "Ask for something: more than one approval, a group, or one of the points below.",
                )

    def rule(self, *, rule_id: str) -> PolicyRule:
        """Return the rule that was typed. Raises RuleError if it is no valid rule."""
        cleaned = self.cleaned_data
        chosen: dict[str, Any] = {name: frozenset(cleaned[name]) for name in _LISTS}
        chosen |= {name: cleaned[name] for name in _AS_TYPED}
        asked = ("approvals", "bar_editor", "care", "expire_minutes")
        then: dict[str, Any] = {name: cleaned[name] for name in asked}
        then |= {name: frozenset(cleaned[name]) for name in _EFFECTS}
        return PolicyRule(
            id=rule_id,
            name=" ".join(cleaned["name"].split()),
            owner=cleaned["owner"],
            note=cleaned["note"].strip(),
            is_on=self.stored.is_on if self.stored else True,
            when=Conditions(
                **chosen,
                currency=cleaned["currency"].upper(),
                known=self.stored.when.known if self.stored else frozenset(),
            ),
            then=Effects(
                **then,
                reject=cleaned["reject"].strip(),
            ),
        ).checked()


def whole_number(
    most: int,
    label: str,
    help_text: str = "",
    *,
    least: int = 1,
    required: bool = False,
) -> forms.IntegerField:
    """Return a field for a whole number within these bounds."""
    return forms.IntegerField(
        label=label,
        help_text=help_text,
        required=required,
        min_value=least,
        max_value=most,
        error_messages=same_error(f"Write a whole number from {least} to {most:,}."),
    )


def typed_of(rule: PolicyRule) -> dict[str, Any]:
    """Return the initial values of the form for a stored rule."""
    when = rule.when
    then = rule.then
    typed: dict[str, Any] = {
        **asdict(when),
        **asdict(then),
        "name": rule.name,
        "note": rule.note,
        "owner": rule.owner,
        "amount": "" if when.amount is None else f"{when.amount:f}",
    }
    for group, number in then.approvals.items():
        typed[f"approvals_{group}"] = number
    if then.expire_minutes:
        unit = next(size for size in (1440, 60, 1) if then.expire_minutes % size == 0)
        typed["expire_number"] = then.expire_minutes // unit
        typed["expire_unit"] = str(unit)
    return typed
