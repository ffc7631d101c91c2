"""Carries out a press of a button under a card in a chat: approve, reject (after a form
that asks for the reason) or claim. It checks who pressed, on which card, and whether
the message has changed, and runs the same commands as the pages of the desk.

Which chat it is, the caller knows: it checks the service's signature, stores the
interaction, and sends the answer. Nobody learns anything about a message that they may
not see.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.urls import reverse

from alerts.cards.buttons import Button, read_custom_id
from alerts.cards.markup import MAX_VALUE, Markup
from alerts.cards.message import shows_all
from alerts.channels.answers import (
    BROKEN,
    REASON,
    TOO_LATE,
    Body,
    Reply,
    link_instructions,
    person_of,
    recorded_refusal,
    store_reply,
    stranger,
)
from alerts.models import Card, Destination, Interaction
from approvals.collaboration import take_claim
from approvals.decisions.decide import give_verdict, note_refusal, why_not_held
from approvals.decisions.forms import VerdictForm
from approvals.decisions.ruling import rulings, stop_of
from approvals.desk_messages import awaits_review
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
from common.fingerprint import short_fingerprint
from common.mail_addresses import without_addresses
from common.postgres import retry_transaction
from mirror.errors import DeskError, ThreadMovedOn
from mirror.models import Message, Revision
from mirror.states import Outcome
from people.sign_in.backend import needs_second_factor

log = logging.getLogger(__name__)

TRY_AGAIN = "The message was busy. Nothing was decided: press again."
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
    # Whether the channel may not show addresses.
    is_masked: bool
    markup: Markup

    def shown(self, text: str) -> str:
        """Return a sentence escaped for the chat, without addresses if the channel may
        not show them.
        """
        text = without_addresses(text) if self.is_masked else text
        return self.markup.literal(text, MAX_VALUE)

    def link(self, label: str) -> str:
        """Return a link to the message's page."""
        return self.markup.answer_link(label, self.url)


def judge(interaction: Interaction, markup: Markup) -> Reply:
    """Carry out a press or a form, in the caller's transaction, and return the answer,
    written in `markup`.
    """
    options: Mapping[str, str] = json.loads(interaction.options)
    button = read_custom_id(options["custom_id"])
    if button is None:
        return Reply("not ours", NOT_OURS)
    message = Message.objects.filter(public_id=button.message).first()
    person = person_of(interaction)
    actor = (
        person.actor(surface=interaction.service) if person else stranger(interaction)
    )
    actor = replace(actor, proof=proof_of(interaction))

    def refuse(outcome: str, why: str, answer: str) -> Reply:
        if words := recorded_refusal(interaction, why):
            record(
                "interaction.refused",
                actor=actor,
                details={"outcome": button.action, "explanation": words},
                **(message.ledger_subject if message else {}),
            )
        return Reply(outcome, answer)

    if person is None:
        service = interaction.get_service_display()
        why = f"This {service} account is not linked to anyone at the desk."
        return refuse("not linked", why, link_instructions(interaction, markup))
    interaction.person = person
    visible = Message.objects.visible_to(actor)
    if message is None or not visible.filter(pk=message.pk).exists():
        return refuse("no right", "They may not see this message.", NOT_YOURS)
    url = f"{settings.PUBLIC_URL}{reverse('message', kwargs={'public_id': message.public_id})}"
    # The button must be under the desk's own card, in its own channel: whoever has the
    # application's token could put the desk's buttons under any other text.
    cards = Card.objects.filter(
        destination__kind__startswith=interaction.service,
        destination__channel=interaction.channel_id,
        message=message,
        is_answer=False,
        post_id=options.get("card", ""),
    ).exclude(post_id="")
    card = cards.select_related("destination").first()
    if card is None:
        why = "The press came from another post or channel than the desk's card of this message."
        answer = f"{OTHER_CARD}{markup.answer_link('Open it on the desk', url)}."
        return refuse("other card", why, answer)
    if needs_second_factor(person):
        why = f"Their role needs a second factor, which is not possible on {interaction.get_service_display()}."
        answer = (
            f"Your role needs a second factor, so you decide {markup.answer_link('on the desk', url)}. "
            "Nothing was decided."
        )
        return refuse("second factor", why, answer)
    if button.action == "approve" and not shows_all(message, card.destination, markup):
        link = markup.answer_link("Read it on the desk", url)
        return Reply("not shown whole", f"{NOT_WHOLE}{link}, then decide.")
    return _carry_out(
        _Press(
            button=button,
            interaction=interaction,
            message=message,
            actor=actor,
            reason=options.get(REASON, ""),
            url=url,
            markup=markup,
            is_masked=card.destination.privacy == Destination.Privacy.MINIMAL,
        )
    )


def judge_once(
    interaction: Interaction,
    markup: Markup,
    body_of: Callable[[Reply], Body],
    *,
    may_ask: bool = True,
) -> None:
    """Judge a press whose answer was deferred, in a transaction of its own, and store
    the answer as `body_of` writes it; once, whoever else has claimed it. Without
    `may_ask` no form can be shown any more, and the person is asked to press again.
    """
    retry_transaction(lambda: _judge_once(interaction, markup, body_of, may_ask))


@transaction.atomic
def _judge_once(
    interaction: Interaction,
    markup: Markup,
    body_of: Callable[[Reply], Body],
    may_ask: bool,
) -> None:
    # A second worker that claims the interaction waits here, and then finds the answer.
    locked = Interaction.objects.select_for_update().get(pk=interaction.pk)
    if not locked.answer:
        try:
            with transaction.atomic():
                reply = judge(locked, markup)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            # Another try would fail in the same way, and a person is waiting.
            log.exception("press not judged", extra={"interaction": locked.external_id})
            reply = Reply("fault", BROKEN)
        if reply.form and not may_ask:
            reply = Reply(TOO_LATE, TRY_AGAIN)
        store_reply(locked, reply, body_of(reply))
    interaction.outcome = locked.outcome
    interaction.answer = locked.answer


def proof_of(interaction: Interaction) -> tuple[tuple[str, str], ...]:
    """Return what the service signed about the person who pressed, as pairs of a name
    and a value for the ledger.
    """
    return (
        (interaction.service, interaction.user_name),
        (f"{interaction.service}_id", interaction.user_id),
        ("interaction", interaction.external_id),
    )


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
                press.message, actor=press.actor, outcome=action, sentence=words
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
        {
            "outcome": action,
            "fingerprint": revision.fingerprint,
            "reason": press.reason,
        }
    )
    if not form.is_valid():
        return Reply("bad form", f"{form.first_error()} Nothing was decided.")
    result = give_verdict(
        message=press.message.public_id, actor=press.actor, **form.cleaned_data
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
    ruling = rulings([message], press.actor)[message.pk]
    if not ruling.may_reject:
        raise VerdictNotAllowed(ruling.reasons[0])
    current = message.fingerprint
    if current != revision.fingerprint:
        raise ContentChanged(OUTDATED, shown=revision.fingerprint, current=current)
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
        old = short_fingerprint(error.shown)
        new = short_fingerprint(error.current) if error.current else "not known"
        return "outdated", (
            f"This card is out of date: it shows {shown(old)}, and the message is now {shown(new)}. Nothing was "
            f"decided. Read the new version, then decide."
        )
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
