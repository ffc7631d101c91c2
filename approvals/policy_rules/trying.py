"""The page Try: runs one past message through the active version of the policy or the
draft, or shows what the draft would have changed in the last days.

It evaluates rules in the same way as a decision does. Nothing is stored.
"""

import re
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from approvals.policy_rules.rehearsal import in_words, look_back, rehearse
from approvals.policy_rules.views import lines_of, visible_parts
from common.actors import Actor
from common.drawn_forms import DrawnForm
from common.pages import DeskRequest, answer
from mirror.models import Message
from policy.rules.changes import passes_of, policies, rules_of
from policy.rules.demand import required
from policy.rules.facts import facts_of, lookups_for, sending_of
from policy.rules.names import names_for
from policy.rules.rules import Parts

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class TryForm(DrawnForm):
    """A past message to try, by its id or address; and whether by the draft."""

    message = forms.CharField(
        label="Message",
        help_text="Its id, or the address of its page.",
        max_length=500,
        error_messages={"required": "Write the id of a message, or its address."},
    )
    draft = forms.BooleanField(required=False)


@require_safe
def try_policy(request: DeskRequest) -> HttpResponse:
    """Show the form, and the result of what it asks: for one message, or on request for
    the last days of the draft.
    """
    actor = request.actor
    now = policies()
    form = TryForm(request.GET if "message" in request.GET else None)
    context: dict[str, Any] = {"form": form, "now": now}
    before, after = (
        visible_parts(actor, one) for one in (now.active_parts, now.draft_parts)
    )
    if "days" in request.GET and now.draft:
        context["tried"] = rehearse(
            before=before, after=after, actor=actor, now=timezone.now()
        )
    if form.is_valid():
        if message := _find(form.cleaned_data["message"], actor):
            parts = after if form.cleaned_data["draft"] else before
            context |= _tried(message, parts, actor)
        else:
            form.add_error(
                "message",
                "There is no message with this id or address, or you may not see it.",
            )
    return answer(request, "policy/rules/try.html", context, form=form)


def _find(reference: str, actor: Actor) -> Message | None:
    """Return the message with this id or address, if the actor may see it."""
    visible = Message.objects.visible_to(actor).select_related("review")
    if match := _ID.search(reference.lower()):
        return visible.filter(public_id=UUID(match[0])).first()
    return visible.filter(upstream_id=reference).order_by("-pk").first()


def _tried(message: Message, parts: Parts, actor: Actor) -> dict[str, Any]:
    """Return which rules apply to the message, what they ask together, and why each
    pass does not send it.
    """
    rules = rules_of(parts)
    look_back([message], rules)
    at = timezone.now()
    facts = facts_of(message, message.review, lookups_for(parts, at, [message]))
    sending = sending_of(message, message.review, at)
    requirement = required(rules, facts)
    spoke = requirement.spoke
    passes = [
        (one, one.misfits(facts, sending, is_asked=bool(spoke)))
        for one in passes_of(parts)
        if one.is_on
    ]
    is_sent = any(not reasons for _, reasons in passes)
    names = names_for(actor, parts)
    return {
        "message": message,
        "needed": in_words(None if is_sent else requirement.effects, names),
        "spoken": lines_of(spoke, names),
        "silent": lines_of([one for one in rules if one not in spoke], names),
        "passes": passes,
    }
