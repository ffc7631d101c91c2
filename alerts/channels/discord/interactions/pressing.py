"""Judges a press on a card, or the form that it led to: by who pressed, on which version, and through the one way.

What is decided and what is answered about it stand in one transaction. Nothing is told about a message to whom may
not see it, and of the letter itself nothing at all: who wants to read it opens the desk.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from alerts.channels.discord.buttons import Pressed, read_custom_id
from alerts.channels.discord.interactions.answers import Said
from alerts.channels.discord.interactions.linking import how_to_link
from alerts.channels.discord.interactions.noting import words_kept
from alerts.channels.discord.interactions.reading import REASON
from alerts.channels.discord.interactions.wording import sentence_of, told_of_decision
from alerts.channels.discord.markdown import MAX_VALUE, literal
from alerts.models import Card, Destination, Interaction
from approvals import wakeups
from approvals.collaboration.claims import take
from approvals.decisions.decide import give_verdict, who_was_first
from approvals.decisions.forms import VerdictForm
from approvals.decisions.refusals import note_refusal
from approvals.decisions.ruling import ruling_for, stop_of
from approvals.errors import AlreadyDecided, ContentChanged, VerdictNotAllowed
from approvals.querysets.messages import awaits_review
from audit.recording import record
from common.mail_addresses import without_addresses
from common.postgres import clock
from mirror.errors import DeskError
from mirror.models import Message, Revision
from people.actors import Actor
from people.models import Person
from people.sign_in.factors import needs_second_factor

NOT_OURS = "This button is not one of this desk's. Nothing was done; open the desk to decide."
NOT_YOURS = "You cannot do this here: it is not among what you may decide at this desk. Nothing was done."
OUTDATED = "This card is out of date: the message has changed since. Nothing was decided. "


@dataclass(frozen=True)
class _Press:
    """A press by somebody who may see the message, and how much of it their channel shows."""

    pressed: Pressed
    interaction: Interaction
    message: Message
    actor: Actor
    reason: str
    is_masked: bool

    @property
    def link(self) -> str:
        """Where the message is on the desk."""
        return f"{settings.PUBLIC_URL}{reverse('message', kwargs={'public_id': self.message.public_id})}"

    def shown(self, text: str) -> str:
        """Return a sentence so that Discord shows it literally, without addresses where the channel shows none."""
        return literal(without_addresses(text) if self.is_masked else text, MAX_VALUE)


def judge(interaction: Interaction) -> Said:
    """Do what was pressed, in the caller's transaction, and return what to answer."""
    given: Mapping[str, str] = json.loads(interaction.options)
    pressed = read_custom_id(given["custom_id"])
    if pressed is None:
        return Said("not ours", NOT_OURS)
    message = Message.objects.filter(public_id=pressed.message).first()
    people = Person.objects.filter(discord_accounts__discord_id=interaction.discord_user_id)
    person = people.prefetch_related("grants").first()
    if person is None:
        return _refuse_stranger(interaction, pressed, message)
    actor = replace(person.actor(surface="discord"), proof=proof_of(interaction))
    interaction.person = person
    may_see = message is not None and Message.objects.visible_to(actor).filter(pk=message.pk).exists()
    if message is None or not may_see:
        return _refuse(interaction, actor, pressed, message, "no right", "They may not see this message.", NOT_YOURS)
    interaction.message = message
    press = _Press(
        pressed=pressed,
        interaction=interaction,
        message=message,
        actor=actor,
        reason=given.get(REASON, ""),
        is_masked=_is_masked(message, given.get("card", "")),
    )
    if needs_second_factor(person):
        why = "Their role needs a second factor, which nobody can prove on Discord."
        answer = f"Your role needs a second factor, so you decide [on the desk](<{press.link}>). Nothing was decided."
        return _refuse(interaction, actor, pressed, message, "second factor", why, answer)
    return _carry_out(press)


def proof_of(interaction: Interaction) -> tuple[tuple[str, str], ...]:
    """Return what Discord signed of who pressed, as each entry of the act keeps it."""
    return (
        ("discord", interaction.discord_user),
        ("discord_id", interaction.discord_user_id),
        ("interaction", interaction.discord_id),
    )


def _carry_out(press: _Press) -> Said:
    if press.pressed.act == "claim":
        return _claim(press)
    revision = Revision.objects.filter(pk=press.pressed.revision, message=press.message).first()
    if revision is None:
        return Said("outdated", f"{OUTDATED}[Read it on the desk](<{press.link}>), then decide.")
    if press.pressed.act == "reject" and press.interaction.kind == Interaction.Kind.PRESS:
        return _ask_why(press, revision)
    fields = {"outcome": press.pressed.act, "fingerprint": revision.fingerprint, "reason": press.reason}
    form = VerdictForm(fields)
    if not form.is_valid():
        return Said("bad form", f"{form.first_error()} Nothing was decided.")
    try:
        with transaction.atomic():
            given = give_verdict(
                message=press.message.public_id, actor=press.actor, now=timezone.now(), **form.cleaned_data
            )
    except DeskError as error:
        return _not_done(press, error)
    wakeups.execute(given.decision, now=timezone.now())
    told = told_of_decision(
        given.decision,
        link=press.link,
        is_stopped=stop_of(press.message) is not None,
        is_paused=press.message.connection.paused_at is not None,
    )
    return Said(press.pressed.act, told)


def _ask_why(press: _Press, revision: Revision) -> Said:
    """Ask for the reason, unless it could not count any more; the form that comes back is judged like any verdict."""
    try:
        _check_rejectable(press, revision)
    except DeskError as error:
        return _not_done(press, error)
    return Said("asked why", form=json.loads(press.interaction.options)["custom_id"])


def _check_rejectable(press: _Press, revision: Revision) -> None:
    message = press.message
    if not awaits_review(message.pk):
        decision = message.decisions.select_related("given_by").order_by("-pk").first()
        raise AlreadyDecided(who_was_first(decision) if decision else "This message is not held any more.")
    ruling = ruling_for(message, actor=press.actor, now=clock())
    if not ruling.may_reject:
        raise VerdictNotAllowed(ruling.reasons[0])
    if message.revision is None or message.revision.fingerprint != revision.fingerprint:
        current = message.revision.fingerprint if message.revision else ""
        raise ContentChanged(OUTDATED, shown=revision.fingerprint, current=current)


def _not_done(press: _Press, error: DeskError) -> Said:
    """Note that the press did not count, and say why; what was typed is given back."""
    if words := words_kept(press.interaction, error.sentence):
        note_refusal(press.message, actor=press.actor, outcome=press.pressed.act, sentence=words)
    kept = f"\nYou wrote: {press.shown(press.reason)}" if press.reason else ""
    outcome, sentence = sentence_of(error, shown=press.shown)
    return Said(outcome, f"{sentence} [Open it on the desk](<{press.link}>).{kept}")


def _claim(press: _Press) -> Said:
    try:
        with transaction.atomic():
            take(message=press.message.public_id, actor=press.actor, now=timezone.now())
    except DeskError as error:
        outcome, sentence = sentence_of(error, shown=press.shown)
        return Said(outcome, f"{sentence} [Open it on the desk](<{press.link}>).")
    told = (
        "You have this message now, and others see it. It is free again when you have not had it open for ten minutes."
    )
    return Said("claim", f"{told} [Read it on the desk](<{press.link}>).")


def _is_masked(message: Message, card: str) -> bool:
    """Whether the channel shows no addresses. Of a card that the desk does not know, it does not."""
    of_card = Card.objects.filter(message=message, discord_message_id=card) if card else Card.objects.none()
    shown = of_card.select_related("destination").first()
    return shown is None or shown.destination.privacy == Destination.Privacy.MINIMAL


def _refuse_stranger(interaction: Interaction, pressed: Pressed, message: Message | None) -> Said:
    number = interaction.discord_user_id
    stranger = Actor(
        kind="discord",
        id=number,
        label=interaction.discord_user or number,
        surface="discord",
        proof=proof_of(interaction),
    )
    why = "This Discord account belongs to nobody at the desk."
    return _refuse(interaction, stranger, pressed, message, "not linked", why, how_to_link(interaction))


def _refuse(
    interaction: Interaction,
    actor: Actor,
    pressed: Pressed,
    message: Message | None,
    outcome: str,
    why: str,
    answer: str,
) -> Said:
    if words := words_kept(interaction, why):
        record(
            "interaction.refused",
            actor=actor,
            connection=message.connection_id if message else None,
            message=message.public_id if message else None,
            details={"outcome": pressed.act, "explanation": words},
            words=message.ledger_words() if message else (),
        )
    return Said(outcome, answer)
