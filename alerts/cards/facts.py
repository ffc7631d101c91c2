"""What a card may tell of a message at a destination's level of privacy, and where it says the message is."""

from dataclasses import replace
from urllib.parse import quote

from django.conf import settings
from django.utils import timezone

from alerts.cards.card import CardFacts
from alerts.channels.discord.buttons import MAX_LINK
from alerts.models import Destination
from approvals.decisions.offered_acts import shown_status
from approvals.decisions.status import Status, status_of
from approvals.examination.weights import weights_to_show
from approvals.models import Claim
from audit.trail import last_of
from mirror.models import Message
from mirror.querysets.terms import TOLD_BEFORE
from mirror.recipients import copied_to
from mirror.states import MessageState
from risk import risk_level_of, risk_words_of

_UNASKED = ("monitored", "autonomous")
_LEFT = (MessageState.SENT, MessageState.DELIVERED, MessageState.BOUNCED, MessageState.COMPLAINED)
_WENT_WRONG = (MessageState.BOUNCED, MessageState.COMPLAINED, MessageState.FAILED)
# What shows that somebody was asked, or might have been.
_ASKED = ("message.held", "message.approved", "decision.recorded")


def facts_of(message: Message, destination: Destination, alert: int) -> CardFacts:
    """Return what the card of `message` tells there. The text of the letter goes nowhere but to the fullest level."""
    revision, is_full = message.revision, destination.privacy == Destination.Privacy.FULL
    findings = revision.findings if revision else []
    weights = weights_to_show() if findings else {}
    is_held = message.state == MessageState.HELD
    claim = Claim.objects.on(message).live().select_related("person").first() if is_held else None
    content = revision.content if revision else {}
    return CardFacts(
        copies=copied_to(revision, "cc") if revision else (),
        blind_copies=copied_to(revision, "bcc") if revision else (),
        files=tuple(str(one["name"]) for one in content.get("attachments") or ()),
        upstream_id=message.upstream_id,
        link=link_to(message),
        subject=message.subject,
        sender=message.sender,
        recipients=tuple(map(str, message.recipients)),
        trigger=message.trigger,
        fingerprint=revision.short_fingerprint if revision else "",
        risk=", ".join(risk_words_of(findings, weights)) if findings else "",
        risk_level=risk_level_of(findings, weights) if findings else "",
        privacy=destination.privacy,
        alert=alert,
        letter=str(content.get("markdown") or "") if is_full else "",
        held_at=message.held_at,
        expires_at=message.expires_at,
        claimed_by=str(claim.person) if claim else "",
    )


def link_to(message: Message) -> str:
    """Return the address of the message on the desk, or of the queue where that is longer than Discord takes."""
    link = f"{settings.PUBLIC_URL}/approvals/{quote(message.upstream_id, safe='')}/"
    return link if len(link) <= MAX_LINK else f"{settings.PUBLIC_URL}/queue/"


def status_on_card(message: Message) -> Status:
    """Return where the message is, and what only a card must say: that its time is nearly over, or nobody was asked."""
    status = shown_status(message)
    if message.state == MessageState.HELD and status.tone == "amber":
        return replace(status, word="Held, expires soon", tone="orange") if _is_nearly_over(message) else status
    if message.state in _LEFT and message.direction != "inbound" and _nobody_was_asked(message):
        mode = message.mailbox.oversight_mode if message.mailbox else ""
        # In other modes too mail leaves unread: by an allowlist, or where a call may ask for a looser mode.
        why = mode if mode in _UNASKED else "not reviewed"
        detail = f"{status.detail}; nobody was asked" if status.detail else "Nobody was asked"
        return replace(status, word=f"{status.word} · {why}", detail=detail)
    if message.state in _WENT_WRONG and status.detail.startswith("Approved by "):
        why_not = status_of(message, None).detail
        return replace(status, detail=f"{why_not}; a{status.detail[1:]}")
    return status


def _is_nearly_over(message: Message) -> bool:
    """Whether it was told, or is told now, that the time of a held message is nearly over (nearly_over)."""
    if message.expires_at is None:
        return False
    ahead = min(TOLD_BEFORE, (message.expires_at - message.held_at) / 10)
    return message.expires_at - ahead <= timezone.now()


def _nobody_was_asked(message: Message) -> bool:
    # Modes change: what waited once was decided, whatever its mailbox does now.
    return not message.decisions.all() and not last_of(message=message.public_id, actions=_ASKED)
