"""Pages of the policy: what is in force with the draft and the versions, one version,
the form of a rule or pass, activating, and Try; and the actions that begin, change and
discard a draft. The fields of a rule's form come from the kinds of conditions and from
the effects.
"""

import re
import secrets
from collections.abc import Iterable
from dataclasses import asdict, fields, replace
from datetime import datetime, time
from typing import Any, ClassVar
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.http import Http404, HttpResponse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_POST, require_safe

from approvals.authorship import note_words
from approvals.policy_rules.rehearsal import ask, rehearse
from common.actors import Actor
from common.durations import minutes_in_words
from common.errors import SentenceError
from common.pages import (
    DayField,
    DeskRequest,
    DrawnForm,
    admin_or_403,
    answer,
    changes,
    first_or_404,
    posted,
    require_get_or_post,
    same_error,
)
from common.postgres import atomic_with_retry
from common.time_zones import local_time, zone_name
from mirror.models import Message
from policy.errors import PolicyRefused, RuleError, StalePolicy
from policy.models import PolicyVersion
from policy.pages import SettingForm, edit_setting, members_field
from policy.rules.changes import (
    EMPTY,
    MAX_NOTE,
    NO_PASSES,
    Policies,
    activate_draft,
    begin_draft,
    change_draft,
    discard_draft,
    has_two_admins,
    policies,
    save_group,
    version_as_is,
)
from policy.rules.conditions import KINDS, Conditions, Names, read_domain
from policy.rules.demand import Policy
from policy.rules.facts import names_for, signed_passes
from policy.rules.fields import (
    ChecksField,
    EntriesField,
    money_field,
    money_in_words,
    number_field,
)
from policy.rules.problems import Problems, problems, read_staff
from policy.rules.rules import (
    ANY_REVIEWER,
    MOST_A_DAY,
    MOST_APPROVALS,
    Effects,
    Part,
    Pass,
    PolicyRule,
    differences,
)


class PartForm(SettingForm):
    """What the forms of rules and passes have in common. `makes` is what it makes,
    `title` names a new one, and `intro` says what such a part does.
    """

    makes: ClassVar[type[Part]]
    title: ClassVar[str]
    intro: ClassVar[str]
    # The name of its field for a sum, whose currency is stored beside it.
    sum_name: ClassVar[str]
    part: Part

    name = forms.CharField(max_length=80)

    def __init__(
        self, data: Any, *, actor: Actor, stored: Any, seen: str, **initial: Any
    ) -> None:
        shown = (asdict(stored) if stored else {}) | initial
        if (amount := shown.get(self.sum_name)) is not None:
            shown[self.sum_name] = money_in_words(amount, shown["currency"])
        super().__init__(data, seen, **shown)
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
        typed = self.cleaned_data
        if self.errors:
            return
        typed["id"] = self.stored.id if self.stored else secrets.token_hex(6)
        typed[self.sum_name], typed["currency"] = typed[self.sum_name] or (None, "")
        try:
            self.gather()
            self.part = self.makes(
                **{one.name: typed[one.name] for one in fields(self.makes)}
            )
            self.part.check()
        except RuleError as error:
            self.add_error(error.field, error.sentence)

    def gather(self) -> None:
        """Make values that consist of several fields."""

    def save(self, actor: Actor) -> str:
        seen = self.cleaned_data["seen"]
        change_draft(actor=actor, seen=seen, rule_id=self.part.id, rule=self.part)
        if isinstance(self.part, PolicyRule):
            # The agent of a rejected message reads it.
            note_words(actor, self.part.then.reject)
        sentence = self.part.sentence(self.names)
        wrong = problems(policies().drafted.rules, read_staff(self.names))
        of_it = wrong.get(self.part.id, ())
        return " ".join([f"“{self.part.name}” is in the draft: {sentence}", *of_it])


# In place of the key of a group that is made with the rule.
NEW_GROUP = -1


class RuleForm(PartForm):
    """The form of one rule."""

    makes = PolicyRule
    title = "New rule"
    sum_name = "amount"
    intro = "All conditions must match. Without any, the rule is for every message."
    parts = {
        "when": ("When a message …", "Add a condition"),
        "then": ("… then", "Add an effect"),
    }
    layout = """
| * The rule | name |
when | Connection | connections |
when | Mailbox or API key | mailboxes keys only_these |
when | Metadata | metadata |
when | Number of tries | tries_from |
when | Recipients | recipients recipients_except |
when | Allowlist | lists lists_except contacts_count |
when | First message to somebody | first_contact |
when | Number of recipients | recipients_from |
when | Risk and findings | high_risk findings |
when | Words | words |
when | Amount of money | amount |
when | Attachments | attachments |
when | Links | has_link links_except |
then | * Approvals | approvals_[0-9]* | One person counts for one group only.
then | Approvals of a new group | group_* approvals_-1 | The group is made with the rule.
then | Who may not approve | barred_groups bar_editor |
then | How it is approved | care | After signing in again, on a page of its own, never in bulk.
then | Hours | office_hours | Approved and sent only within the hours of all of these calendars.
then | Expiry | expire_minutes | An expired message is rejected, never sent.
then | Rejection | reject |
then | Oversight of mailboxes | least_mode |
then | Sentences | sentences | Shown with the message, before it is decided.
"""

    group_name = forms.CharField(max_length=60, required=False)
    group_members = members_field()

    def __init__(self, data: Any, *, stored: PolicyRule | None, **more: Any) -> None:
        then = stored.then if stored else Effects()
        initial = asdict(stored.when) | asdict(then) if stored else {}
        initial |= {f"approvals_{group}": n for group, n in then.approvals.items()}
        if then.expire_minutes:
            initial["expire_minutes"] = minutes_in_words(then.expire_minutes)
        super().__init__(data, stored=stored, **more, **initial)
        groups = [(str(ANY_REVIEWER), "any reviewer, in all"), *self.offered("groups")]
        for group, name in (*groups, (str(NEW_GROUP), "the new group")):
            field = number_field(f"Of {name}", MOST_APPROVALS, least=0)
            self.fields[f"approvals_{group}"] = field

    def gather(self) -> None:
        typed = self.cleaned_data
        name, number = typed["group_name"], typed[f"approvals_{NEW_GROUP}"]
        if (name or number or typed["group_members"]) and not (name and number):
            raise RuleError(
                "Write its name, and how many of its members must approve.",
                "group_name",
            )
        typed["known"] = self.stored.when.known if self.stored else frozenset()
        when = {one.name: typed[one.name] for one in fields(Conditions)}
        typed["when"] = Conditions(**when)
        if typed["contacts_count"] and not typed["lists_except"]:
            raise RuleError(
                "Choose the allowlists beside which contacts count.", "lists_except"
            )
        if typed["only_these"] and not (typed["mailboxes"] or typed["keys"]):
            raise RuleError("Choose the mailboxes or API keys.", "mailboxes")
        approvals = {
            int(name.removeprefix("approvals_")): n
            for name, n in typed.items()
            if name.startswith("approvals_") and n
        }
        then = {name: typed[name] for name in Effects.editor}
        typed["then"] = Effects(approvals, **then)

    @atomic_with_retry
    def save(self, actor: Actor) -> str:
        typed = self.cleaned_data
        approvals = dict(typed["then"].approvals)
        if number := approvals.pop(NEW_GROUP, 0):
            made = save_group(
                actor=actor,
                name=" ".join(typed["group_name"].split()),
                members=[one.pk for one in typed["group_members"]],
            )
            then = replace(typed["then"], approvals={**approvals, made.pk: number})
            self.part = replace(self.part, then=then)
            self.names = names_for(actor)
        return super().save(actor)


for _name, _kind in KINDS.items():
    RuleForm.base_fields |= {_name: _kind.field, **_kind.more}
RuleForm.base_fields |= Effects.editor


class PassForm(PartForm):
    """The form of one pass. It ends at the end of its last day, in the time zone of
    whoever fills it in.
    """

    makes = Pass
    title = "New pass"
    sum_name = "most"
    intro = (
        "Messages that fit a pass are sent without a person, if no rule applies to them: from an agent, with all "
        "recipients known, without a finding or an attachment, and only the first try. Two admins sign each pass."
    )
    layout = """
| * The pass | name |
| * Which messages | keys mailboxes lists most link_domains |
| * How many, how long | a_day ends_at |
"""

    keys = ChecksField("API keys", "keys", required=True)
    mailboxes = ChecksField("Mailboxes", "mailboxes", int, required=True)
    lists = ChecksField(
        "Recipients on these allowlists",
        "lists",
        int,
        help_text="Each recipient must be on one of them.",
        required=True,
    )
    most = money_field("Amounts up to", "Empty for no sum.")
    link_domains = EntriesField(
        "Links to these domains",
        read_domain,
        "A domain or *.domain on each line; empty for no links.",
    )
    a_day = number_field(
        "Messages a day, at most", MOST_A_DAY, required=True, initial=20
    )
    ends_at = DayField(
        label="Expires",
        help_text="At the end of this day, at most 366 days ahead.",
        error_messages=same_error("Choose a day."),
    )

    def __init__(self, data: Any, *, stored: Pass | None, **more: Any) -> None:
        if stored:
            more["ends_at"] = f"{local_time(stored.ends_at):%Y-%m-%d}"
        super().__init__(data, stored=stored, **more)

    def clean_ends_at(self) -> datetime:
        last = self.cleaned_data["ends_at"]
        return datetime.combine(last, time(23, 59), ZoneInfo(zone_name()))


_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class ActivateForm(SettingForm):
    """A note why the draft is activated."""

    note = forms.CharField(
        label="Why, for people who read the versions later (optional)",
        required=False,
        max_length=MAX_NOTE,
    )

    def save(self, actor: Actor) -> str:
        version = activate_draft(actor=actor, **self.cleaned_data)
        return f"Version {version.number} is active. Messages are decided by it from now on."


def lines_of(
    parts: Iterable[Part], names: Names, wrong: Problems | None = None
) -> list[dict[str, Any]]:
    """Return what pages show about each rule or pass, in order: its sentence and its
    problems.
    """
    return [
        {
            "part": one,
            "is_pass": isinstance(one, Pass),
            "sentence": one.sentence(names),
            "problems": (wrong or {}).get(one.id, ()),
        }
        for one in parts
    ]


def problems_of(policy: Policy, actor: Actor, names: Names) -> Problems:
    """Return what is wrong with the rules, for people who can change them: the sentences
    name mailboxes.
    """
    if not actor.is_admin_of_all:
        return {}
    return problems(policy.rules, read_staff(names))


def of_draft(now: Policies, actor: Actor) -> dict[str, Any]:
    """Return what the pages with a draft show: its rules and passes, and what it
    changes.
    """
    names = names_for(actor)
    context = {"now": now, "names": names, "may_change": actor.is_admin_of_all}
    if now.draft is None or not actor.scopes:
        return context
    draft = now.drafted.parts
    return context | {
        "draft": lines_of(draft, names, problems_of(now.drafted, actor, names)),
        "changed": differences(now.in_force.parts, draft, names),
    }


def answer_policy(
    request: DeskRequest, *, error: SentenceError | None = None, **_: Any
) -> HttpResponse:
    """Show what is in force, the draft, and the versions; after a refused action with
    its error.
    """
    actor = request.actor
    now = policies()
    context = of_draft(now, actor)
    names = context["names"]
    if actor.scopes:
        wrong = problems_of(now.in_force, actor, names)
        # Who signed a pass of the active version; empty if it does not count.
        signed = signed_passes(now.in_force, timezone.now())
        context["active"] = lines_of(now.in_force.parts, names, wrong)
        for line in context["active"]:
            line["signed"] = signed.get(line["part"].id, (None, ""))[1]
    context |= {
        "no_passes": "" if has_two_admins() else NO_PASSES,
        "versions": PolicyVersion.objects.activated(),
    }
    return answer(request, "policy/rules/policy.html", context, error)


policy = require_safe(answer_policy)


changes_policy = changes(answer_policy, to="policy")


@require_POST
@changes_policy
def begin(request: DeskRequest) -> str:
    """Create a draft: from the active version, or from an older one."""
    actor = admin_or_403(request)
    number = request.POST.get("from", "")
    begun_from = policies().in_force
    if number.isdecimal():
        begun_from = version_as_is(_version_or_404(number))
    begin_draft(actor=actor, rules=begun_from.parts, based_on=begun_from.number)
    return "The draft is created. Nothing changes until it is activated."


@require_POST
@changes_policy
def discard(request: DeskRequest) -> str:
    """Discard the draft. Its rules stay in the ledger."""
    discard_draft(actor=admin_or_403(request), seen=request.POST.get("seen", ""))
    return "The draft is discarded. The ledger keeps what it said."


@require_POST
@changes_policy
def delete(request: DeskRequest, policy_part: str) -> str:
    """Delete one rule or pass of the draft."""
    actor = admin_or_403(request)
    seen = request.POST.get("seen", "")
    change_draft(actor=actor, seen=seen, rule_id=policy_part, rule=None)
    return "It is deleted from the draft."


@require_get_or_post
def edit(
    request: DeskRequest, form_class: type[PartForm], policy_part: str = ""
) -> HttpResponse:
    """Show the form of a rule or pass of the draft, or of a new one. On POST, save it
    in the draft.
    """
    actor = admin_or_403(request)
    typed = posted(request)
    now = policies()
    of_kind = (one for one in now.drafted.parts if isinstance(one, form_class.makes))
    stored = next((one for one in of_kind if one.id == policy_part), None)
    if typed is None and (now.draft is None or (policy_part and not stored)):
        raise Http404("There is no draft, or this is not in it any more.")
    seen = now.draft.seen if now.draft else ""
    form = form_class(typed, actor=actor, stored=stored, seen=seen)
    title = stored.name if stored else form.title
    return edit_setting(
        request, form, to="policy", title=title, above=("Policy", "policy")
    )


@require_get_or_post
def activate(request: DeskRequest) -> HttpResponse:
    """Show what the draft changes, and what it would have done to past messages. On
    POST, activate it.
    """
    actor = admin_or_403(request)
    now = policies()
    if now.draft is None or now.drafted.unreadable:
        why = now.drafted.unreadable or "There is no draft to activate."
        return answer_policy(request, error=StalePolicy(why))
    form = ActivateForm(posted(request), now.draft.seen)
    tried = SimpleLazyObject(
        lambda: rehearse(
            before=now.in_force, after=now.drafted, actor=actor, now=timezone.now()
        )
    )
    return edit_setting(
        request,
        form,
        "policy",
        "policy/rules/activate.html",
        is_guarded=True,
        tried=tried,
        **of_draft(now, actor),
    )


@require_safe
def version(request: DeskRequest, policy_number: int) -> HttpResponse:
    """Show the rules and passes of one version, and what it changed."""
    actor = request.actor
    shown = _version_or_404(policy_number)
    names = names_for(actor)
    context = {
        "version": shown,
        "may_change": actor.is_admin_of_all,
        "has_draft": PolicyVersion.objects.filter(state="draft").exists(),
    }
    if actor.scopes:
        parts = version_as_is(shown).parts
        versions = PolicyVersion.objects.activated()
        older = version_as_is(versions.filter(number__lt=policy_number).first())
        context["lines"] = lines_of(parts, names)
        context["changed"] = differences(older.parts, parts, names)
    return answer(request, "policy/rules/version.html", context)


def _version_or_404(number: Any) -> PolicyVersion:
    return first_or_404(
        PolicyVersion.objects.activated().filter(number=number),
        "There is no such version of the policy.",
    )


class TryForm(DrawnForm):
    """A past message to try, by its id or address; and whether by the draft."""

    message = forms.CharField(
        label="Message",
        help_text="Its id, or the address of its page.",
        max_length=500,
        error_messages={"required": "Write the id of a message, or its address."},
    )
    draft = forms.BooleanField(required=False)

    def __init__(self, data: Any, actor: Actor) -> None:
        super().__init__(data)
        self.visible = Message.objects.visible_to(actor).select_related("review")

    def clean_message(self) -> Message:
        typed = self.cleaned_data["message"]
        if match := _ID.search(typed.lower()):
            found = self.visible.filter(public_id=UUID(match[0]))
        else:
            found = self.visible.filter(upstream_id=typed)
        message = found.last()
        if message is None:
            raise forms.ValidationError(
                "There is no message with this id or address, or you may not see it."
            )
        return message


@require_safe
def try_policy(request: DeskRequest) -> HttpResponse:
    """Show the form, and the result of what it asks: for one message, which rules apply
    to it, what they ask together, and why each pass does not send it; or on request for
    the last days of the draft.
    """
    actor = request.actor
    now = policies()
    at = timezone.now()
    form = TryForm(request.GET if "message" in request.GET else None, actor)
    context = {"form": form, "now": now}
    before, after = (now.in_force, now.drafted) if actor.scopes else (EMPTY, EMPTY)
    if now.unreadable:
        template = "policy/rules/try.html"
        return answer(request, template, context, PolicyRefused(now.unreadable))
    if "days" in request.GET and now.draft:
        context["tried"] = rehearse(before=before, after=after, actor=actor, now=at)
    if form.is_valid():
        message = form.cleaned_data["message"]
        policy = after if form.cleaned_data["draft"] else before
        [asked] = ask([policy], [message], at, at)[message]
        names = names_for(actor)
        silent = [one for one in policy.rules if one not in asked.spoke]
        context |= {
            "message": message,
            "needed": asked.in_words(names),
            "spoken": lines_of(asked.spoke, names),
            "silent": lines_of(silent, names),
            "passes": asked.passes,
        }
    return answer(request, "policy/rules/try.html", context, form=form)
