"""The playground: one message, real or pasted, run through the active version or the
draft. Nothing is stored.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from approvals.examination import columns_of
from approvals.examination import findings as examine
from approvals.models import Review
from approvals.policy_rules.rule_form import AddressesField, typed_lines
from approvals.policy_rules.views import visible_rules
from common.actors import Actor
from common.fingerprint import Attachment, Content
from common.pages import (
    DeskRequest,
    SentenceForm,
    WordsField,
    always,
    by_key,
    require_get_or_post,
)
from common.time_zones import zone_name
from mirror.models import Mailbox, Message
from policy.rules.changes import Policies, policies
from policy.rules.conditions import Conditions, MessageFacts
from policy.rules.demand import required
from policy.rules.facts import lookups_for
from policy.rules.names import names_for
from policy.rules.rules import (
    Names,
    as_sentence,
    conditions_in_words,
    listed,
    outcome_in_words,
    unread_sums_in_words,
)
from rendering import parse_content

MAX_TEXT = 20_000
ORIGINS = {
    "agent": "An agent",
    "discord": "A Discord command",
    "edit": "An edit at the desk",
}
_TRIGGERS = {
    "discord": {"discord_user": "playground"},
    "edit": {"countersign_edit": "playground"},
}
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NOT_FOUND = "There is no message with this id or address, or you may not see it."


class PlaygroundForm(SentenceForm):
    """A message to run through the rules: the id or address of a past one, or what is
    pasted.
    """

    message = forms.CharField(
        label="A past message",
        help_text="Its id, or the address of its page.",
        required=False,
        max_length=500,
    )
    which = forms.ChoiceField(
        label="Rules", required=False, error_messages={"invalid_choice": "Choose one."}
    )
    at = forms.DateTimeField(
        label="At the time",
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"],
        error_messages={"invalid": "Write a date and a time, or leave it empty."},
    )
    mailbox = forms.ChoiceField(
        label="From",
        required=False,
        error_messages={"invalid_choice": "Choose one of the mailboxes."},
    )
    to = AddressesField(
        label="To", help_text="One address a line.", required=False, max_length=MAX_TEXT
    )
    subject = forms.CharField(label="Subject", required=False, max_length=1000)
    text = WordsField(
        label="Text",
        required=False,
        max_length=MAX_TEXT,
        error_messages={"max_length": f"Keep the text under {MAX_TEXT:,} characters."},
        widget=forms.Textarea,
    )
    attached = forms.CharField(
        label="Names of attachments",
        help_text="With commas between, such as invoice.pdf, terms.docx.",
        required=False,
        max_length=1000,
    )
    origin = forms.ChoiceField(
        label="Started by", required=False, choices=list(ORIGINS.items())
    )
    tries = forms.IntegerField(
        label="Try number",
        help_text="1 if it is empty.",
        required=False,
        min_value=1,
        max_value=1000,
        error_messages=always("Write a whole number from 1 to 1,000."),
    )

    def __init__(
        self, data: Any, *, mailboxes: Iterable[Mailbox], now: Policies
    ) -> None:
        super().__init__(data)
        named = by_key(mailboxes).items()
        self.fields["mailbox"].choices = [("", "Choose a mailbox"), *named]  # type: ignore[attr-defined]
        versions = [
            (
                "active",
                "The active version" + (f", {now.active.number}" if now.active else ""),
            )
        ]
        if now.draft:
            versions.insert(0, ("draft", f"The draft, version {now.draft.number}"))
        self.fields["which"].choices = versions  # type: ignore[attr-defined]
        self.fields["at"].help_text = f"In {zone_name()}. Empty: now."

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors or cleaned["message"]:
            return cleaned
        if not any(cleaned[name] for name in ("to", "subject", "text", "attached")):
            self.add_error("message", "Name a message, or write one below.")
        elif not cleaned["mailbox"]:
            self.add_error("mailbox", "Choose the mailbox that it would be sent from.")
        return cleaned

    def time(self) -> datetime:
        """Return the time at which it is asked: the one that was typed, by the clock of
        whoever asks, or now.
        """
        typed: datetime | None = self.cleaned_data.get("at")
        return typed.replace(tzinfo=ZoneInfo(zone_name())) if typed else timezone.now()


@require_get_or_post
def playground(request: DeskRequest) -> HttpResponse:
    """Show the form; run a message through the rules. A link with ?message= runs that
    one.
    """
    actor = request.actor
    now = policies()
    source = request.POST if request.method == "POST" else request.GET
    runs = request.method == "POST" or "message" in request.GET
    mailboxes = Mailbox.objects.at_work().visible_to(actor).order_by("address")
    form = PlaygroundForm(source if runs else None, mailboxes=mailboxes, now=now)
    context: dict[str, Any] = {"form": form}
    status = 200
    if runs:
        message = _message_of(form, actor) if form.is_valid() else None
        if form.is_valid() and message is None:
            form.add_error("message", _NOT_FOUND)
        status = 200 if message else 422
        if message:
            which = form.cleaned_data["which"] or ("draft" if now.draft else "active")
            rules = now.draft_rules if which == "draft" else now.active_rules
            rules = visible_rules(actor, rules)
            at = form.time()
            facts = lookups_for(rules, at).facts(message, message.review, at)
            asked = required(rules, facts)
            names = names_for(actor, rules)
            spoken: list[dict[str, Any]] = []
            silent: list[dict[str, Any]] = []
            for number, one in enumerate(rules, 1):
                # The conditions that do not hold, each as the middle of a sentence.
                failing = []
                for name in one.when.failing(facts):
                    kept = {name: getattr(one.when, name)}
                    if name == "amount":
                        kept["currency"] = one.when.currency
                    failing.append(conditions_in_words(Conditions(**kept), names))
                line = {
                    "number": number,
                    "rule": one,
                    "sentence": as_sentence(one, names),
                    "failing": listed(failing, "or"),
                    "spoke": one in asked.spoke,
                }
                (spoken if line["spoke"] else silent).append(line)
            context |= {
                "which": which,
                "message": message,
                "at": at,
                "spoken": spoken,
                "silent": silent,
                "needed": outcome_in_words(asked.effects, names),
                "known": _known(facts, names),
            }
    written = ("mailbox", "to", "subject", "text", "attached", "origin", "tries")
    context["named"] = [form[name] for name in ("message", "which", "at")]
    context["written"] = [form[name] for name in written]
    context["writes"] = any(form[name].errors for name in written) or any(
        form[name].value() for name in written[:5]
    )
    return render(request, "policy/rules/playground.html", context, status=status)


def _message_of(form: PlaygroundForm, actor: Actor) -> Message | None:
    """Return the message that was named, None where it is not visible; or one made of
    what was pasted, which is not stored, examined as one that comes in would be.
    """
    cleaned = form.cleaned_data
    if named := str(cleaned["message"]).strip():
        visible = Message.objects.visible_to(actor).select_related(
            "connection", "mailbox"
        )
        if found := _ID.search(named.lower()):
            return visible.filter(public_id=UUID(found[0])).first()
        return visible.filter(upstream_id=named[:200]).order_by("-pk").first()
    mailbox = Mailbox.objects.select_related("connection").get(pk=cleaned["mailbox"])
    names = typed_lines(cleaned["attached"])
    content = Content(
        sender=mailbox.address,
        to=tuple(typed_lines(cleaned["to"])[:1000]),
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
    parsed = parse_content(content)
    findings = examine(message, content, parsed, may_have_left=False)
    columns, review = columns_of(message, content, parsed, findings)
    message.written_to = columns["written_to"]
    message.review = Review(message=message, **review)
    return message


def _known(facts: MessageFacts, names: Names) -> list[tuple[str, str]]:
    """Return what the rules know of the message, for people."""
    unknown = "not known: every condition on it holds"
    amounts = [
        f"{one.value:f} {one.currency or '(any currency)'}"
        for one in facts.amounts or ()
    ]
    unread = unread_sums_in_words(facts.unread_sums)
    rows = [
        ("Recipients", facts.recipients, list(facts.recipients or ())[:20]),
        ("Risk", facts.risk_level, [facts.risk_level or "none"]),
        (
            "Findings",
            facts.findings,
            [names.findings.get(one, one) for one in sorted(facts.findings or ())],
        ),
        ("Own words", facts.own_words, sorted(facts.own_words or ())),
        ("Amounts", unread or facts.amounts, [unread] if unread else amounts),
        ("Attachments", facts.attachments, sorted(facts.attachments or ())),
        (
            "Origin",
            facts.origins,
            [ORIGINS.get(one, "Received mail") for one in sorted(facts.origins or ())],
        ),
        ("Try", facts.tries, [str(facts.tries)]),
    ]
    return [
        (label, unknown if value is None else ", ".join(words) or "none")
        for label, value, words in rows
    ]
