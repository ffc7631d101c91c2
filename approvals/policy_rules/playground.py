"""The playground: a page that runs one message, past or typed in, through the rules of
the policy's active version or draft, and shows which rules apply and what they ask for.

It evaluates rules in the same way as a decision does. Nothing is stored.
"""

import re
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone

from approvals.examination import columns_of
from approvals.examination import findings as examine
from approvals.models import Review
from approvals.policy_rules.rehearsal import SENT_BY_PASS, look_back
from approvals.policy_rules.views import lines_of, visible_rules
from common.actors import Actor
from common.fingerprint import Attachment, Content
from common.pages import (
    DeskRequest,
    MultilineField,
    SentenceForm,
    choices_by_pk,
    require_get_or_post,
    same_error,
)
from mirror.models import Mailbox, Message
from policy.rules.changes import Policies, passes_of, policies, rules_of
from policy.rules.demand import required
from policy.rules.facts import facts_of, lookups_for, sending_of
from policy.rules.names import names_for
from policy.rules.passes import fitting
from risk.examined import examine_content

# Characters of the typed text.
MAX_TEXT = 20_000
# The metadata of a message by what started it.
_TRIGGERS = {
    "agent": {},
    "discord": {"discord_user": "playground"},
    "edit": {"countersign_edit": "playground"},
}
_STARTED_BY = (
    ("agent", "An agent"),
    ("discord", "A Discord command"),
    ("edit", "An edit at the desk"),
)
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NOT_FOUND = "There is no message with this id or address, or you may not see it."


class LinesField(MultilineField):
    """A list of values, one on each line or separated by commas."""

    widget = forms.Textarea(attrs={"spellcheck": "false"})

    def clean(self, value: Any) -> list[str]:
        typed = super().clean(value).replace(",", "\n").split("\n")
        return [line.strip() for line in typed if line.strip()]


class PlaygroundForm(SentenceForm):
    """A message to run through the rules: the id or URL of a past message, or the
    fields of a made-up one.
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
    mailbox = forms.ChoiceField(
        label="From",
        required=False,
        error_messages={"invalid_choice": "Choose one of the mailboxes."},
    )
    to = LinesField(
        label="To", help_text="One address a line.", required=False, max_length=MAX_TEXT
    )
    subject = forms.CharField(label="Subject", required=False, max_length=1000)
    text = MultilineField(
        label="Text",
        required=False,
        max_length=MAX_TEXT,
        error_messages={"max_length": f"Keep the text under {MAX_TEXT:,} characters."},
        widget=forms.Textarea,
    )
    attached = LinesField(
        label="Names of attachments",
        help_text="One a line, such as invoice.pdf.",
        required=False,
        max_length=1000,
    )
    origin = forms.ChoiceField(label="Started by", required=False, choices=_STARTED_BY)
    tries = forms.IntegerField(
        label="Try number",
        help_text="1 if it is empty.",
        required=False,
        min_value=1,
        max_value=1000,
        error_messages=same_error("Write a whole number from 1 to 1,000."),
    )

    def __init__(
        self, data: Any, *, mailboxes: Iterable[Mailbox], now: Policies
    ) -> None:
        super().__init__(data)
        versions = {"active": "The active version"}
        if now.draft:
            versions = {"draft": "The draft", **versions}
        fields: dict[str, Any] = self.fields
        fields["which"].choices = versions.items()
        fields["mailbox"].choices = [
            ("", "Choose a mailbox"),
            *choices_by_pk(mailboxes).items(),
        ]

    def clean(self) -> None:
        cleaned = self.cleaned_data
        if self.errors or cleaned["message"]:
            return
        if not any(cleaned[name] for name in ("to", "subject", "text", "attached")):
            self.add_error("message", "Name a message, or write one below.")
        elif not cleaned["mailbox"]:
            self.add_error("mailbox", "Choose the mailbox that it would be sent from.")


@require_get_or_post
def playground(request: DeskRequest) -> HttpResponse:
    """Show the form. On POST, run the message through the rules and show the result."""
    actor = request.actor
    now = policies()
    form = PlaygroundForm(
        request.POST if request.method == "POST" else None,
        mailboxes=Mailbox.objects.at_work().visible_to(actor).order_by("address"),
        now=now,
    )
    context: dict[str, Any] = {"form": form}
    if form.is_valid():
        message = _message_of(form.cleaned_data, actor)
        if message:
            which = form.cleaned_data["which"] or ("draft" if now.draft else "active")
            parts = now.draft_parts if which == "draft" else now.active_parts
            parts = visible_rules(actor, parts)
            rules = rules_of(parts)
            # A message that was written here has no key, and its words are known.
            if message.pk:
                look_back([message], rules)
            at = timezone.now()
            lookups = lookups_for(parts, at, [message])
            facts = facts_of(message, message.review, lookups)
            sending = sending_of(message, message.review, at)
            requirement = required(rules, facts)
            is_asked = bool(requirement.spoke)
            passes = [one for one in passes_of(parts) if one.is_on]
            fit = fitting(passes, facts, sending, is_asked=is_asked)
            names = names_for(actor, parts)
            silent = [one for one in rules if one not in requirement.spoke]
            context |= {
                "which": which,
                "message": message,
                "spoken": lines_of(requirement.spoke, names, {}),
                "silent": lines_of(silent, names, {}),
                "needed": SENT_BY_PASS
                if fit
                else requirement.effects.outcome_in_words(names),
                "passes": [
                    (one, one.misfits(facts, sending, is_asked=is_asked))
                    for one in passes
                ],
            }
        else:
            form.add_error("message", _NOT_FOUND)
    written = ("mailbox", "to", "subject", "text", "attached", "origin", "tries")
    context["named"] = [form[name] for name in ("message", "which")]
    context["written"] = [form[name] for name in written]
    context["writes"] = any(
        form[name].errors or (name != "origin" and form[name].value())
        for name in written
    )
    status = 422 if form.errors else 200
    return render(request, "policy/rules/playground.html", context, status=status)


def _message_of(cleaned: dict[str, Any], actor: Actor) -> Message | None:
    """Return the past message that the form names, or None if the actor cannot see it.
    If it names none, return an unsaved message with the typed fields, with findings and
    columns as for a message that comes in.
    """
    if reference := cleaned["message"]:
        visible = Message.objects.visible_to(actor).select_related("review")
        if match := _ID.search(reference.lower()):
            return visible.filter(public_id=UUID(match[0])).first()
        return visible.filter(upstream_id=reference[:200]).order_by("-pk").first()
    mailbox = Mailbox.objects.select_related("connection").get(pk=cleaned["mailbox"])
    content = Content(
        sender=mailbox.address,
        to=tuple(cleaned["to"][:1000]),
        subject=cleaned["subject"],
        markdown=cleaned["text"],
        attachments=tuple(Attachment(name, "", 0) for name in cleaned["attached"]),
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
    examined = examine_content(content)
    findings = examine(message, content, examined)
    columns, review = columns_of(message, content, examined, findings)
    message.written_to = columns["written_to"]
    message.review = Review(message=message, **review)
    return message
