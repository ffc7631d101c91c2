"""The playground: one message, real or pasted, run through the active version or the draft. Nothing is stored."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from approvals.examination import findings as examine
from approvals.examination import queue_columns
from approvals.policy_rules.shown import CONDITIONS
from approvals.policy_rules.views import visible_rules
from common.fingerprint import Attachment, Content
from common.forms import SentenceForm, WordsField
from common.pages import DeskRequest
from mirror.models import Mailbox, Message
from people.actors import Actor
from policy.rules.changes import policies
from policy.rules.conditions import MessageFacts
from policy.rules.drafts import Rules
from policy.rules.evaluation import Requirement, required
from policy.rules.lookups import lookups_for
from policy.rules.names import names_for
from policy.rules.rules import Names, PolicyRule, as_sentence, conditions_in_words, effects_in_words, listed

MAX_TEXT = 20_000
ORIGINS = {"agent": "An agent", "discord": "A Discord command", "edit": "An edit at the desk"}
_TRIGGERS = {"discord": {"discord_user": "playground"}, "edit": {"countersign_edit": "playground"}}
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NOT_FOUND = "There is no message with this id or address, or you may not see it."


class PlaygroundForm(SentenceForm):
    """A message to run through the rules: the id or address of a past one, or what is pasted."""

    message = forms.CharField(required=False, max_length=500)
    which = forms.ChoiceField(
        required=False,
        choices=[("draft", "The draft"), ("active", "The active version")],
        error_messages={"invalid_choice": "Choose one."},
    )
    at = forms.DateTimeField(
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"],
        error_messages={"invalid": "Write a date and a time, or leave it empty."},
    )
    mailbox = forms.ChoiceField(required=False, error_messages={"invalid_choice": "Choose one of the mailboxes."})
    to = WordsField(required=False, max_length=MAX_TEXT)
    subject = forms.CharField(required=False, max_length=1000)
    text = WordsField(
        required=False,
        max_length=MAX_TEXT,
        error_messages={"max_length": f"Keep the text under {MAX_TEXT:,} characters."},
    )
    attached = forms.CharField(required=False, max_length=1000)
    origin = forms.ChoiceField(required=False, choices=list(ORIGINS.items()))
    tries = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=1000,
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), "Write a whole number from 1 to 1,000."),
    )

    def __init__(self, data: Any, *, mailboxes: Mapping[str, str]) -> None:
        super().__init__(data)
        self.fields["mailbox"].choices = [("", "None"), *mailboxes.items()]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        has_text = any(cleaned.get(name) for name in ("to", "subject", "text", "attached"))
        if not self.errors and not cleaned.get("message") and not has_text:
            self.add_error("message", "Name a message, or write one below.")
        if not self.errors and has_text and not cleaned.get("message") and not cleaned.get("mailbox"):
            self.add_error("mailbox", "Choose the mailbox that it would be sent from.")
        return cleaned

    def time(self) -> datetime:
        """Return the time at which it is asked: the one that was typed, in UTC, or now."""
        typed: datetime | None = self.cleaned_data.get("at")
        return typed.replace(tzinfo=UTC) if typed else timezone.now()


@dataclass(frozen=True)
class Spoken:
    """One rule and what came of it. `failing` are its conditions that do not hold, in words; empty where it spoke."""

    rule: PolicyRule
    sentence: str
    spoke: bool
    failing: str
    asked: str


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def playground(request: DeskRequest) -> HttpResponse:
    """Show the form; run a message through the rules. A link with ?message= runs that one."""
    actor: Actor = request.actor
    mailboxes = {str(one.pk): str(one) for one in Mailbox.objects.at_work().visible_to(actor).order_by("address")}
    source = request.POST if request.method == "POST" else request.GET
    context: dict[str, Any] = {"mailboxes": mailboxes, "origins": ORIGINS, "typed": source, "wrong": {}}
    now = policies()
    context |= {"has_draft": now.draft is not None, "now": now, "status": 200}
    if request.method == "POST" or "message" in request.GET:
        form = PlaygroundForm(source, mailboxes=mailboxes)
        message = _message_of(form, actor) if form.is_valid() else None
        if form.is_valid() and message is None:
            form.add_error("message", _NOT_FOUND)
        if message is None:
            context |= {"wrong": form.errors_by_field(), "status": 422}
        else:
            which = form.cleaned_data.get("which") or ("draft" if now.draft else "active")
            rules = visible_rules(actor, now.draft_rules if which == "draft" else now.active_rules)
            context |= _result(actor, rules, message, form.time()) | {"which": which}
    status = context.pop("status")
    return render(request, "policy/rules/playground.html", context, status=status)


def _message_of(form: PlaygroundForm, actor: Actor) -> Message | None:
    """Return the message that was named, or one made of what was pasted; None where it is not visible."""
    named = str(form.cleaned_data["message"]).strip()
    if not named:
        return _pasted(form.cleaned_data)
    visible = Message.objects.visible_to(actor).select_related("connection", "mailbox")
    if found := _ID.search(named.lower()):
        return visible.filter(public_id=UUID(found[0])).first()
    return visible.filter(upstream_id=named[:200]).order_by("-pk").first()


def _pasted(cleaned: Mapping[str, Any]) -> Message:
    """Return a message that is not stored, examined as one that comes in would be."""
    mailbox = Mailbox.objects.select_related("connection").get(pk=cleaned["mailbox"])
    to = [one.strip() for one in cleaned["to"].replace(",", "\n").split("\n") if one.strip()]
    names = [one.strip() for one in cleaned["attached"].split(",") if one.strip()]
    content = Content(
        sender=mailbox.address,
        to=tuple(to[:1000]),
        subject=cleaned["subject"],
        markdown=cleaned["text"],
        attachments=tuple(Attachment(name, "", 0) for name in names),
    )
    message = Message(
        connection=mailbox.connection,
        mailbox=mailbox,
        state="held",
        held_at=timezone.now(),
        trigger=_TRIGGERS.get(cleaned["origin"], {}),
        try_number=cleaned["tries"] or 1,
        subject=content.subject,
        recipients=list(content.to),
    )
    columns = queue_columns(message, content, examine(message, content, may_have_left=False))
    for name in ("written_to", "risk", "risk_level", "rules", "policy_facts"):
        setattr(message, name, columns.get(name, getattr(message, name)))
    return message


def _result(actor: Actor, rules: Rules, message: Message, at: datetime) -> dict[str, Any]:
    facts = lookups_for(rules, message.written_to or (), at).facts(message, at)
    asked = required(rules, facts)
    names = names_for(actor, rules)
    return {
        "message": message,
        "is_stored": message.pk is not None,
        "at": at,
        "spoken": [_spoken(one, facts, asked, names) for one in rules],
        "needed": effects_in_words(asked.effects, names),
        "needs_more": bool(asked.spoke),
        "known": _known(facts, names),
    }


def _spoken(rule: PolicyRule, facts: MessageFacts, asked: Requirement, names: Names) -> Spoken:
    failing = "" if rule.when.apply_to(facts) else listed(_failing(rule, facts, names), "or")
    return Spoken(rule, as_sentence(rule, names), rule in asked.spoke, failing, effects_in_words(rule.then, names))


def _failing(rule: PolicyRule, facts: MessageFacts, names: Names) -> list[str]:
    """Return the conditions that do not hold, each as the middle of a sentence."""
    found = []
    for name in rule.when.failing(facts):
        kept = {name: getattr(rule.when, name)} | ({"currency": rule.when.currency} if name == "amount" else {})
        found.append(conditions_in_words(type(rule.when)(**kept), names) or CONDITIONS[name])
    return found


def _known(facts: MessageFacts, names: Names) -> list[tuple[str, str]]:
    """Return what the rules know of the message, for people."""
    unknown = "not known: every condition on it holds"
    amounts = [f"{one.value:f} {one.currency or '(any currency)'}" for one in facts.amounts or ()]
    rows = [
        ("Recipients", facts.recipients, list(facts.recipients or ())[:20]),
        ("Risk", facts.risk_level, [facts.risk_level or "none"]),
        ("Findings", facts.findings, [names.findings.get(one, one) for one in sorted(facts.findings or ())]),
        ("Own words", facts.own_words, sorted(facts.own_words or ())),
        ("Amounts", facts.amounts, amounts),
        ("Attachments", facts.attachments, sorted(facts.attachments or ())),
        ("Origin", facts.origins, [ORIGINS.get(one, "Received mail") for one in sorted(facts.origins or ())]),
        ("Try", facts.tries, [str(facts.tries)]),
    ]
    return [(label, unknown if value is None else ", ".join(words) or "none") for label, value, words in rows]
