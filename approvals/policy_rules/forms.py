"""The forms of a rule and of a pass, and of the number of edits that a page showed. The
fields of a rule come from the kinds of conditions and from the effects.
"""

import secrets
from dataclasses import asdict
from datetime import datetime, time
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django import forms

from common.actors import Actor
from common.pages import same_error
from common.time_zones import local_time, zone_name
from policy.pages import SavedForm
from policy.rules.changes import policies, save_rule
from policy.rules.conditions import KINDS, Conditions, read_domain
from policy.rules.facts import names_for
from policy.rules.fields import (
    ChecksField,
    EntriesField,
    amount_field,
    currency_field,
    number_field,
)
from policy.rules.problems import problems, read_staff
from policy.rules.rules import (
    ANY_REVIEWER,
    MOST_A_DAY,
    MOST_APPROVALS,
    Effects,
    Part,
    Pass,
    PolicyRule,
    RuleError,
)


class SeenForm(SavedForm):
    """The number of edits of the draft that the page showed, by which a button that was
    shown before somebody else's change is refused.
    """

    seen_field = "edits"
    edits = forms.IntegerField(
        min_value=0,
        error_messages={"required": "Reload the page, and try again."},
        widget=forms.HiddenInput,
    )


class PartForm(SeenForm):
    """What the forms of rules and passes have in common. `makes` is what it makes,
    `title` names a new one, and `intro` says what such a part does.
    """

    makes: ClassVar[type[Part]]
    title: ClassVar[str]
    intro: ClassVar[str]
    part: Part

    name = forms.CharField(
        label="Name",
        max_length=80,
        error_messages={"required": "Give it a name."},
    )

    def __init__(
        self, data: Any, *, actor: Actor, stored: Any, edits: int, **initial: Any
    ) -> None:
        of_part = asdict(stored.when) | asdict(stored) if stored else {}
        super().__init__(data, initial={"edits": edits, **of_part, **initial})
        self.stored = stored
        self.names = names_for(actor)
        for field in self.fields.values():
            if isinstance(field, ChecksField):
                field.choices = self.offered(field.of)

    def offered(self, kind: str) -> list[tuple[str, str]]:
        """Return the choices of one kind, with what the rule or pass names already."""
        named = self.stored.named().get(kind, ()) if self.stored else ()
        return self.names.choices(kind, named)

    def clean(self) -> None:
        if self.errors:
            return
        try:
            self.part = self.makes(
                id=self.stored.id if self.stored else secrets.token_hex(6),
                name=" ".join(self.cleaned_data["name"].split()),
                **self.own_fields(self.cleaned_data),
            ).checked()
        except RuleError as error:
            self.add_error(error.field, error.sentence)

    def own_fields(self, typed: dict[str, Any]) -> dict[str, Any]:
        """Return what only a rule or only a pass has."""
        raise NotImplementedError

    def save(self, actor: Actor) -> str:
        save_rule(actor=actor, edits=self.cleaned_data["edits"], rule=self.part)
        sentence = self.part.sentence(self.names)
        wrong = problems(policies().drafted.rules, read_staff(self.names))
        of_it = [one.sentence for one in wrong if one.rule == self.part.id]
        return " ".join([f"“{self.part.name}” is in the draft: {sentence}", *of_it])


class RuleForm(PartForm):
    """The form of one rule."""

    makes = PolicyRule
    title = "New rule"
    intro = "All conditions must match. Without any, the rule is for every message."
    adds = {"When a message …": "Add a condition", "… then": "Add an effect"}
    layout = """
| * The rule | name |
When a message … | Connection | connections |
When a message … | Mailbox or API key | mailboxes keys only_these |
When a message … | Metadata | metadata |
When a message … | Number of tries | tries_from |
When a message … | Recipients | recipients recipients_except |
When a message … | Allowlist | lists lists_except contacts_count |
When a message … | First message to somebody | first_contact |
When a message … | Number of recipients | recipients_from |
When a message … | Risk and findings | high_risk findings |
When a message … | Words | words |
When a message … | Amount of money | amount currency |
When a message … | Attachments | attachments |
When a message … | Links | has_link links_except |
… then | * Approvals | approvals_* | One person counts for one group only.
… then | Who may not approve | barred_groups bar_editor |
… then | How it is approved | care | After signing in again, on a page of its own, never in bulk.
… then | Hours | office_hours | Approved and sent only within the hours of all of these calendars.
… then | Expiry | expire_minutes | An expired message is rejected, never sent.
… then | Rejection | reject |
… then | Oversight of mailboxes | least_mode |
… then | Sentences | sentences | Shown with the message, before it is decided.
"""

    def __init__(self, data: Any, *, stored: PolicyRule | None, **more: Any) -> None:
        then = stored.then if stored else Effects()
        initial = {name: getattr(then, name) for name in Effects.editor}
        initial |= {f"approvals_{group}": n for group, n in then.approvals.items()}
        super().__init__(data, stored=stored, **more, **initial)
        any_reviewer = (str(ANY_REVIEWER), "any reviewer, in all")
        for group, name in (any_reviewer, *self.offered("groups")):
            field = number_field(f"Of {name}", MOST_APPROVALS, least=0)
            self.fields[f"approvals_{group}"] = field

    def own_fields(self, typed: dict[str, Any]) -> dict[str, Any]:
        known = self.stored.when.known if self.stored else frozenset()
        when = {name: typed[name] for kind in KINDS for name in kind.editor}
        approvals = {
            int(name.removeprefix("approvals_")): n
            for name, n in typed.items()
            if name.startswith("approvals_") and n
        }
        then = {name: typed[name] for name in Effects.editor}
        return {
            "when": Conditions(**when, known=known),
            "then": Effects(approvals, **then),
        }


for _kind in KINDS:
    RuleForm.base_fields |= _kind.editor
RuleForm.base_fields |= Effects.editor


class PassForm(PartForm):
    """The form of one pass. It ends at the end of its last day, in the time zone of
    whoever fills it in.
    """

    makes = Pass
    title = "New pass"
    intro = (
        "Messages that fit a pass are sent without a person, if no rule applies to them: from an agent, with all "
        "recipients known, without a finding or an attachment, and only the first try. Two admins sign each pass."
    )
    layout = """
| * The pass | name |
| * Which messages | keys mailboxes lists most currency link_domains |
| * How many, how long | a_day ends_on |
"""

    keys = ChecksField("API keys", "keys", required=True)
    mailboxes = ChecksField("Mailboxes", "mailboxes", int, required=True)
    lists = ChecksField(
        "Recipients on these allowlists",
        "lists",
        int,
        "Each recipient must be on one of them.",
        required=True,
    )
    most = amount_field("Names at most", "Such as 49.90; empty for no sum.")
    currency = currency_field("Such as EUR.")
    link_domains = EntriesField(
        "Links to these domains",
        read_domain,
        "A domain or *.domain on each line; empty for no links.",
    )
    a_day = number_field(
        "Messages a day, at most", MOST_A_DAY, required=True, initial=20
    )
    ends_on = forms.DateField(
        label="Until the end of",
        help_text="At most 366 days ahead.",
        error_messages=same_error("Choose a day."),
        widget=forms.DateInput({"type": "date"}),
    )

    def __init__(self, data: Any, *, stored: Pass | None, **more: Any) -> None:
        if stored:
            more["ends_on"] = f"{local_time(stored.ends_at):%Y-%m-%d}"
        super().__init__(data, stored=stored, **more)

    def own_fields(self, typed: dict[str, Any]) -> dict[str, Any]:
        when = {name: typed.pop(name) for name in ("keys", "mailboxes", "lists")}
        ends_at = datetime.combine(
            typed["ends_on"], time(23, 59), ZoneInfo(zone_name())
        )
        of_pass = ("most", "currency", "link_domains", "a_day")
        limits = {name: typed[name] for name in of_pass}
        return {"when": Conditions(**when), "ends_at": ends_at, **limits}
