"""The forms of the parts of the policy: what the forms of a rule and of a pass share,
and the form of a rule, in sections. The fields come from the kinds of conditions and
from the effects.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from django import forms
from django.db.models.functions import Lower
from django.utils.text import capfirst

from common.actors import Actor
from common.pages import MultilineField, SentenceForm, choices_by_pk
from common.tables import table_rows
from mirror.models import Connection, Mailbox
from people.models import Person
from policy.models import Allowlist, Group, WorkCalendar
from policy.rules.conditions import KINDS, Conditions
from policy.rules.effects import effect_fields, read_effects, typed_effects
from policy.rules.fields import CHOOSE
from policy.rules.names import api_keys, names_for
from policy.rules.rules import Part, PolicyRule, RuleError
from policy.rules.wording import FILES, FINDINGS, ORIGINS

# The sections of the editor: what the rule is called ("about"), when it applies
# ("when"), what it asks for ("then"). Each has its name, title, part, fields and note.
# The section "approvals" gets a field for each group.
_SECTIONS = table_rows(
    """
about | The rule | about | name owner note |
sender | Where it comes from | when |
    connections mailboxes keys only_these key_owners origins metadata tries_from |
recipients | Who gets it | when |
    recipients recipients_except lists lists_except contacts_count first_contact recipients_from |
content | What is in it | when | risk findings words amount currency attachments has_link links_except |
approvals | Approvals | then |  | One person counts for one group only.
who_not | Who may not approve | then | barred_groups bar_editor |
how | How it is approved | then | care | After signing in again, on a page of its own, never in bulk.
office | Hours | then | office_hours | Approved and sent only within the hours of all of these calendars.
ends | Expiry | then | expire_number expire_unit | An expired message is rejected, never sent.
rejects | Rejection | then | reject |
oversight | Oversight of mailboxes | then | least_mode |
"""
)


def offered_to(actor: Actor, part: Part | None) -> dict[str, dict[str, str]]:
    """Return the choices of each field, by the field's name: values with their labels.
    What the rule or pass names stays a choice, even if it no longer exists.
    """
    mailboxes = Mailbox.objects.at_work().visible_to(actor).order_by("address")
    people = choices_by_pk(
        Person.objects.filter(is_active=True).order_by("name", "email")
    )
    offered = {
        "connections": choices_by_pk(Connection.objects.at_work().visible_to(actor)),
        "mailboxes": choices_by_pk(mailboxes),
        "keys": dict(
            sorted(api_keys(actor).items(), key=lambda pair: pair[1].casefold())
        ),
        "key_owners": people,
        "owner": dict(people),
        "lists": choices_by_pk(
            Allowlist.objects.visible_to(actor).order_by(Lower("name"))
        ),
        **{
            name: {value: capfirst(words) for value, words in labels.items()}
            for name, labels in (
                ("origins", ORIGINS),
                ("findings", FINDINGS),
                ("attachments", FILES),
            )
        },
        "groups": choices_by_pk(Group.objects.all()),
        "calendars": choices_by_pk(WorkCalendar.objects.order_by("name")),
    }
    if part is None:
        return offered
    names, when = names_for(actor, (part,)), part.when
    named: dict[str, tuple[Iterable[Any], Mapping[Any, str]]] = {
        "connections": (when.connections, names.connections),
        "mailboxes": (when.mailboxes, names.mailboxes),
        "keys": (when.keys, names.keys),
        "key_owners": (when.key_owners, names.people),
        "lists": (when.lists | when.lists_except, names.lists),
        "owner": ([part.owner] if part.owner else [], names.people),
        "findings": (when.findings, {}),
        "attachments": (when.attachments, {}),
    }
    if isinstance(part, PolicyRule):
        groups = {*part.then.named_groups, *part.then.barred_groups}
        named["groups"] = (groups, names.groups)
        named["calendars"] = (part.then.office_hours, names.calendars)
    for field, (values, labels) in named.items():
        for value in values:
            label = labels.get(value) or str(value)
            offered[field].setdefault(str(value), f"{label} (gone)")
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
        """Whether its fields are shown at once. Drop-down lists with a unit are
        ignored, because they always have a value.
        """
        return self.name in ("about", "approvals") or any(
            one.errors or (one.name != "expire_unit" and one.value())
            for one in self.fields
        )


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
    owner = forms.TypedChoiceField(
        label="Owner",
        help_text="Who answers for it.",
        required=False,
        coerce=int,
        empty_value=None,
        error_messages=CHOOSE,
    )
    note = MultilineField(
        label="Note",
        help_text="What it is for.",
        required=False,
        max_length=1000,
        error_messages={"max_length": "Keep the note under 1,000 characters."},
        widget=forms.Textarea,
    )

    def __init__(
        self, data: Any, *, actor: Actor, stored: Part | None, **initial: Any
    ) -> None:
        self.stored = stored
        self.offered = offered_to(actor, stored)
        about = {"owner": actor.id}
        if stored:
            about = asdict(stored.when) | {
                "name": stored.name,
                "owner": stored.owner,
                "note": stored.note,
            }
        super().__init__(data, initial=about | initial)
        choices = [("", "Nobody"), *self.offered["owner"].items()]
        self.fields["owner"].choices = choices  # type: ignore[attr-defined]

    def about(self) -> dict[str, Any]:
        """Return what a rule and a pass store alike."""
        cleaned = self.cleaned_data
        return {
            "name": " ".join(cleaned["name"].split()),
            "owner": cleaned["owner"],
            "note": cleaned["note"].strip(),
            "is_on": self.stored is None or self.stored.is_on,
        }


class RuleForm(PartForm):
    """The form of one rule. Once it is valid, `rule()` returns the rule."""

    # The digest of the rule that was previewed: only that rule can be saved.
    previewed = forms.CharField(required=False, max_length=64)

    def __init__(self, data: Any, *, actor: Actor, stored: PolicyRule | None) -> None:
        initial = typed_effects(stored.then) if stored else {"expire_unit": "60"}
        super().__init__(data, actor=actor, stored=stored, **initial)
        for kind in KINDS:
            self.fields |= kind.editor(self.offered)
        self.fields |= effect_fields(self.offered)

    def sections(self) -> list[Section]:
        """Return the sections of the editor with their fields, in order."""
        approvals = [one for one in self.fields if one.startswith("approvals_")]
        return [
            Section(
                name,
                title,
                part,
                [self[one] for one in names.split() or approvals],
                note,
            )
            for name, title, part, names, note in _SECTIONS
        ]

    def clean(self) -> None:
        if self.errors:
            return
        try:
            self.rule(rule_id="new")
        except RuleError as error:
            field = "amount" if "currency" in error.sentence else "approvals_0"
            self.add_error(field, error.sentence)

    def rule(self, *, rule_id: str) -> PolicyRule:
        """Return the rule that was typed. Raises RuleError if it is no valid rule."""
        typed = self.cleaned_data
        names = (one.name for one in fields(Conditions) if one.name != "known")
        known = self.stored.when.known if self.stored else frozenset()
        return PolicyRule(
            id=rule_id,
            when=Conditions(**{one: typed[one] for one in names}, known=known),
            then=read_effects(typed),
            **self.about(),
        ).checked()
