"""Carries out what somebody did in a chat: a press of a button under a card (approve,
reject after a form that asks for the reason, claim) or the command that lists what
waits. It checks who pressed, on which card, and whether the message has changed, and
runs the same commands as the pages of the desk.

The caller has checked the service's signature, and sends the answer. Nobody learns
anything about a message that they may not see.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.urls import reverse

from alerts.cards.buttons import Button, read_custom_id
from alerts.cards.markup import MAX_VALUE, Markup, units
from alerts.cards.message import desk_link, shows_all
from alerts.channels.answers import (
    REASON,
    actor_of,
    link_instructions,
    record_refusal,
    recorded_refusal,
)
from alerts.channels.base import Reply
from alerts.models import Card, Destination, Interaction
from approvals.collaboration import take_claim
from approvals.decisions.decide import give_verdict, note_refusal, why_not_held
from approvals.decisions.forms import VerdictForm
from approvals.decisions.ruling import ruling_of, stop_of
from approvals.desk_messages import awaits_review, desk_messages
from approvals.errors import (
    AlreadyDecided,
    ClaimedByOther,
    ContentChanged,
    RiskUnread,
    VerdictNotAllowed,
)
from approvals.models import Decision
from audit.recording import record
from common.actors import Actor
from mirror.errors import DeskError, ThreadMovedOn
from mirror.models import Message, Revision
from mirror.states import Outcome
from people.sign_in.backend import needs_second_factor

# The command that lists what waits.
PENDING = "pending"
NO_COMMAND = (
    "This desk does not know the command. An admin must register the commands again."
)
# In UTF-16 units: of the whole list, which Discord limits, and of parts of a row.
_MAX_LIST = 2000
_MAX_ROWS = 40
_MAX_SUBJECT = 80
_MAX_TO = 60
NOT_OURS = "This button does not belong to this desk. Nothing was done; open the desk to decide."
NOT_YOURS = "You may not decide this message. Nothing was done."
OTHER_CARD = "This is not the card that the desk has for this message in this channel. Nothing was done. "
NOT_WHOLE = "This card does not show all of the message, so nothing was decided. "
OUTDATED = "This card is out of date: the message has changed. Nothing was decided. "


@dataclass(frozen=True)
class _Press:
    """A press by a person who may see the message."""

    button: Button
    interaction: Interaction
    message: Message
    actor: Actor
    # The text typed in the form; empty for a button.
    reason: str
    # The address of the message's page on the desk.
    url: str
    destination: Destination
    markup: Markup

    def shown(self, text: str) -> str:
        """Return a sentence escaped for the chat, as far as it may be shown
        there.
        """
        return self.markup.literal(self.destination.shown_text(text), MAX_VALUE)

    def link(self, label: str) -> str:
        """Return a link to the message's page."""
        return self.markup.answer_link(label, self.url)


def judge(
    interaction: Interaction, markup: Markup, commands: Collection[str] = ()
) -> Reply | None:
    """Carry out an interaction, in the caller's transaction, and return the answer,
    written in `markup`; None if the person may give it as one of these `commands`,
    which are not carried out here.
    """
    is_command = interaction.kind == Interaction.Kind.COMMAND
    options: Mapping[str, str] = json.loads(interaction.options)
    button = read_custom_id(options["custom_id"])
    if is_command and interaction.name not in (PENDING, *commands):
        return Reply("not ours", NO_COMMAND)
    if not is_command and button is None:
        return Reply("not ours", NOT_OURS)
    message = None
    path = reverse("queue")
    if button is not None:
        message = Message.objects.filter(public_id=button.message).first()
        path = reverse("message", args=[button.message])
    url = f"{settings.PUBLIC_URL}{path}"
    actor = actor_of(interaction)
    service = interaction.get_service_display()

    def refuse(outcome: str, why: str, answer: str) -> Reply:
        what = button.action if button else interaction.name
        record_refusal(interaction, actor, what, why, message)
        return Reply(outcome, answer)

    if interaction.person is None:
        why = f"This {service} account is not linked to anyone at the desk."
        return refuse("not linked", why, link_instructions(interaction, markup))
    if needs_second_factor(interaction.person):
        why = f"Their role needs a second factor, which is not possible on {service}."
        link = markup.answer_link("on the desk", url)
        answer = (
            f"Your role needs a second factor, so you work {link}. Nothing was decided."
        )
        return refuse("second factor", why, answer)
    if button is None:
        if interaction.name in commands:
            record("command.given", actor, details={"command": f"/{interaction.name}"})
            return None
        return Reply("listed", waiting_list(actor, markup))
    visible = Message.objects.visible_to(actor)
    if message is None or not visible.filter(pk=message.pk).exists():
        return refuse("no right", "They may not see this message.", NOT_YOURS)
    # The button must be under the desk's own card, in its own channel: whoever has the
    # application's token could put the desk's buttons under any other text.
    cards = Card.objects.filter(
        destination__kind__startswith=interaction.service,
        destination__removed_at=None,
        destination__channel=interaction.channel_id,
        message=message,
        post_id=options.get("card", ""),
    ).exclude(post_id="")
    card = cards.select_related("destination").first()
    if card is None:
        why = "The press came from another post or channel than the desk's card of this message."
        answer = f"{OTHER_CARD}{markup.answer_link('Open it on the desk', url)}."
        return refuse("other card", why, answer)
    if button.action == "approve" and not shows_all(message, card.destination, markup):
        link = markup.answer_link("Read it on the desk", url)
        return Reply("not shown whole", f"{NOT_WHOLE}{link}, then decide.")
    return _carry_out(
        _Press(
            button,
            interaction,
            message,
            actor,
            options.get(REASON, ""),
            url,
            card.destination,
            markup,
        )
    )


def waiting_list(actor: Actor, markup: Markup) -> str:
    """Return the messages that wait for review and that this person may see, oldest
    first, with links: as many as fit, and how many more there are.
    """
    waiting = desk_messages().visible_to(actor).in_queue().order_by("held_at", "pk")
    number = waiting.count()
    if not number:
        return "No messages that you may see are waiting for review."
    text = f"{number} wait{'s' if number == 1 else ''} for review, oldest first:"
    queue = f"{settings.PUBLIC_URL}{reverse('queue')}"
    for listed, message in enumerate(waiting[:_MAX_ROWS]):
        label = markup.literal(message.subject, _MAX_SUBJECT) or "(no subject)"
        to = markup.literal(", ".join(map(str, message.recipients[:3])), _MAX_TO)
        row = f"\n- {markup.answer_link(label, desk_link(message))} to {to}"
        more = f"\n{markup.answer_link(f'and {number - listed} more', queue)}"
        if units(text + row + more) > _MAX_LIST:
            return text + more
        text += row
    return text


def _carry_out(press: _Press) -> Reply:
    """Decide or claim, and return the answer. If this is refused, the refusal of a
    verdict is recorded, and the answer repeats the reason that was typed.
    """
    action = press.button.action
    try:
        with transaction.atomic():
            if action != "claim":
                return _decide(press)
            take_claim(message=press.message.public_id, actor=press.actor)
    except DeskError as error:
        if action != "claim" and (
            words := recorded_refusal(press.interaction, error.sentence)
        ):
            note_refusal(
                press.message,
                actor=press.actor,
                outcome=action,
                sentence=words,
                reason=press.reason,
            )
        typed = f"\nYou wrote: {press.shown(press.reason)}" if press.reason else ""
        outcome, sentence = error_sentence(error, shown=press.shown)
        link = press.link("Open it on the desk")
        if action == "claim":
            # It is not recorded, so it does not count as a recorded refusal.
            outcome = "claim refused"
        return Reply(outcome, f"{sentence} {link}.{typed}")
    sentence = "You claimed this message. The claim ends when you have not had it open for ten minutes."
    return Reply("claim", f"{sentence} {press.link('Read it on the desk')}.")


def _decide(press: _Press) -> Reply:
    # Approves or rejects by the desk's command `give_verdict`, and returns the answer.
    # Raises DeskError.
    action = press.button.action
    revision = Revision.objects.filter(
        pk=press.button.revision, message=press.message
    ).first()
    if revision is None:
        link = press.link("Read it on the desk")
        return Reply("outdated", f"{OUTDATED}{link}, then decide.")
    if action == "reject" and press.interaction.kind == Interaction.Kind.PRESS:
        return _ask_why(press, revision)
    form = VerdictForm(
        {"outcome": action, "fingerprint": revision.fingerprint, "reason": press.reason}
    )
    if not form.is_valid():
        return Reply("bad form", f"{form.first_error()} Nothing was decided.")
    result = give_verdict(
        message=press.message.public_id,
        actor=press.actor,
        pressed_at=press.interaction.created_at,
        **form.cleaned_data,
    )
    if result.decision is None:
        return Reply(
            "approved",
            f"Approved: {result.progress}. Nothing is sent until the others have approved. You can "
            f"{press.link('take it back on the desk')}.",
        )
    return Reply(action, _decision_sentence(press, result.decision))


def _ask_why(press: _Press, revision: Revision) -> Reply:
    """Return the form that asks for the reason of a rejection. Raises DeskError if the
    person could not reject the message anyway. When the form comes back, everything is
    checked again.
    """
    message = press.message
    if not awaits_review(message.pk):
        raise AlreadyDecided(why_not_held(message))
    ruling = ruling_of(message, press.actor)
    if not ruling.may_reject:
        raise VerdictNotAllowed(ruling.reasons[0])
    if message.fingerprint != revision.fingerprint:
        raise ContentChanged(OUTDATED)
    return Reply("asked why", form=json.loads(press.interaction.options)["custom_id"])


def error_sentence(error: DeskError, *, shown: Callable[[str], str]) -> tuple[str, str]:
    """Return the outcome in a word, and a sentence that says why nothing was done;
    `shown` escapes text for the chat.
    """
    if isinstance(error, RiskUnread):
        return "with care", (
            "Nothing was decided. This message can only be approved on the desk, with care, on a page of its own."
        )
    if isinstance(error, ThreadMovedOn):
        return "thread moved on", (
            "This thread has a message newer than the draft. Read it on the desk first. Nothing was decided."
        )
    if isinstance(error, ContentChanged):
        return "outdated", f"{OUTDATED}Read the new version, then decide."
    if isinstance(error, AlreadyDecided | ClaimedByOther):
        return "already decided", shown(error.sentence)
    return "not allowed", f"{shown(error.sentence)} Nothing was decided."


def _decision_sentence(press: _Press, decision: Decision) -> str:
    """Return a sentence: what was decided, and how long it can be undone."""
    decided = "Rejected. The agent gets your reason."
    if decision.outcome == Outcome.APPROVE:
        decided = "Approved."
    waits_because = ""
    if press.message.connection.paused_at is not None:
        waits_because = "the connection is paused"
    if stop_of(press.message) is not None:
        waits_because = "the kill switch is pulled"
    if waits_because:
        return f"{decided} It waits because {waits_because}. Until then you can {press.link('undo it on the desk')}."
    if decision.due_at <= decision.changed_at:
        return f"{decided} It is being carried out: {press.link('see it on the desk')}."
    seconds = max(1, round((decision.due_at - decision.changed_at).total_seconds()))
    window = f"{seconds} s" if seconds < 120 else f"{seconds // 60} minutes"
    return f"{decided} You have {window} to {press.link('undo it on the desk')}."
