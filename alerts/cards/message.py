"""Builds the card of a message: its status, addresses, findings and a link, as far as a
destination's level of privacy allows.
"""

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.db.models import Prefetch
from django.utils import timezone

from alerts.cards.markup import (
    MAX_FIELD,
    MAX_LINK,
    MAX_LISTED,
    MAX_TITLE,
    OPEN_TONES,
    Card,
    Field,
    Fields,
    Markup,
    units,
)
from alerts.models import Destination
from approvals.decisions.ruling import demands_for
from approvals.decisions.status import Status, shown_status, status_of
from approvals.desk_messages import desk_messages, latest_decision
from approvals.models import Claim, Decision
from audit.trail import last_of
from common.actors import worker
from common.references import without_references
from common.unique_keys import text_in
from mirror.models import Message
from mirror.recipients import copied_to
from mirror.states import LIVE_DECISIONS, TOLD_BEFORE, DecisionState, MessageState
from risk.lookalikes import alike_pairs, compare_names
from risk.rules import rules_in_words

# In UTF-16 units, for one field each.
MAX_NAME = 100
# Of the message's text, at the level that shows it. A longer text is read on the desk.
MAX_TEXT = 1000
# How many of each a card names.
MAX_RISK_WORDS = 3
# The fields that a card has to know to show all of a message.
_WHOLE = {"markdown", "html", "attachments", "cc", "bcc"}
# The fields that no card shows, or not what is in them.
_NOT_ON_CARDS = ("html", "attachments", "reply_to", "send_at")
# Oversight modes in which mail is sent without review.
_UNREVIEWED_MODES = ("monitored", "autonomous")
_SENT = (
    MessageState.SENT,
    MessageState.DELIVERED,
    MessageState.BOUNCED,
    MessageState.COMPLAINED,
)
_WENT_WRONG = (MessageState.BOUNCED, MessageState.COMPLAINED, MessageState.FAILED)
# Actions in the ledger which show that the message was reviewed, or may have been.
_REVIEW_ACTIONS = ("message.held", "message.approved", "decision.recorded")
# In UTF-16 units.
MAX_REASON = 600


@dataclass(frozen=True)
class CardFacts:
    """What the card of a message is built from, for one destination."""

    message: Message
    destination: Destination
    # The findings in words, and "high", "notice" or empty.
    risk: str = ""
    risk_level: str = ""
    # The first address that looks like a known one, and the known one.
    alike: tuple[str, str] | None = None
    claimed_by: str = ""
    # Why it was decided so, or could not be sent.
    reason: str = ""
    # Such as "1 of 2, by Ana Ferreira", if several people have to approve it.
    approvals: str = ""
    # Whether a rule approved it without a person, and it can still be stopped.
    is_stoppable: bool = False


def shows_all(message: Message, destination: Destination, markup: Markup) -> bool:
    """Whether a card at this destination shows all that the sender wrote for the
    recipients: subject, each address and the whole text, where there is nothing else,
    such as an attachment, an HTML part of its own or another address for replies.
    """
    if destination.privacy != Destination.Privacy.FULL or message.revision is None:
        return False
    revision = message.revision
    content = revision.content
    text = text_in(content, "markdown").strip()
    groups = (message.recipients, copied_to(revision, "cc"), copied_to(revision, "bcc"))
    shown = [(text, MAX_TEXT), (message.subject, MAX_TITLE)]
    shown += [(", ".join(group), MAX_FIELD) for group in groups]
    return (
        set(revision.coverage) >= _WHOLE
        and bool(text)
        # A picture, of which a card shows the address at most.
        and "![" not in text
        and not any(content.get(name) for name in _NOT_ON_CARDS)
        and all(len(group) <= MAX_LISTED for group in groups)
        and all(units(markup.plain(one, 2 * most)) <= most for one, most in shown)
    )


def message_facts(message: Message, destination: Destination) -> CardFacts:
    """Read what the card of `message` is built from, for this destination."""
    findings = message.revision.findings if message.revision else []
    newest = latest_decision(message)
    is_held = message.is_held
    is_live = newest is not None and newest.state in LIVE_DECISIONS
    reason = claimed_by = approvals = ""
    if message.state in _WENT_WRONG:
        reason = message.mail_error
    elif not is_held:
        reason = without_references(message.upstream_reason)
        reason = newest.reason if newest else reason
    elif not is_live:
        claims = Claim.objects.filter(message=message).live().select_related("person")
        claimed_by = ", ".join(str(one.person) for one in claims)
        demand = demands_for([message], worker("alerts"), timezone.now())[message.pk]
        if demand.takes_several:
            approvals = f"{demand.progress}{demand.approved_by}"
    return CardFacts(
        message,
        destination,
        risk=rules_in_words(message.review.rules, MAX_RISK_WORDS),
        risk_level=message.review.risk_level,
        alike=next(alike_pairs(findings), None),
        claimed_by=claimed_by,
        reason=reason,
        approvals=approvals,
        is_stoppable=bool(newest and is_held and is_live and newest.is_stoppable),
    )


def desk_link(message: Message) -> str:
    """Return the address of the message's page on the desk; that of the queue, if it is
    too long for a button.
    """
    link = f"{settings.PUBLIC_URL}/approvals/{quote(message.upstream_id, safe='')}/"
    return link if len(link) <= MAX_LINK else f"{settings.PUBLIC_URL}/queue/"


def card_status(message: Message) -> Status:
    """Return the message's status. A card also says if a held message expires soon, and
    if a sent one was not reviewed.
    """
    status = shown_status(message)
    if message.is_held and status.tone == "amber":
        if message.expires_at is not None:
            ahead = min(TOLD_BEFORE, (message.expires_at - message.held_at) / 10)
            if message.expires_at - ahead <= timezone.now():
                return replace(status, said="Held, expires soon", tone="orange")
        return status
    is_sent = (
        message.state in _SENT
        and not message.sandbox
        and message.direction != "inbound"
        and not message.decisions.all()
    )
    # The ledger is asked, because the mailbox's mode may have changed since then.
    if is_sent and not last_of(message=message.public_id, actions=_REVIEW_ACTIONS):
        mode = message.mailbox.oversight_mode if message.mailbox else ""
        # In other modes mail can be sent without review too: by a bypass allowlist, or
        # if a call asked for a looser mode.
        label = mode if mode in _UNREVIEWED_MODES else "not reviewed"
        detail = (
            f"{status.detail}; sent without review"
            if status.detail
            else "Sent without review"
        )
        return replace(status, said=f"{status.word} · {label}", detail=detail)
    newest = latest_decision(message)
    was_approved = (
        newest is not None
        and newest.is_approval
        and newest.state == DecisionState.APPLIED
    )
    if message.state in _WENT_WRONG and was_approved:
        failure = status_of(message, None).detail
        return replace(
            status, detail=f"{failure}; {status.detail[:1].lower()}{status.detail[1:]}"
        )
    return status


def message_card(facts: CardFacts, status: Status, markup: Markup) -> Card:
    """Return the card of a message in this status, with a link to decide while it is
    held.
    """
    message = facts.message
    destination = facts.destination
    # A reason given elsewhere may hold an address.
    detail = markup.literal(destination.shown_text(status.detail))
    sentence = detail if detail.endswith("…") else f"{detail}."
    if status.repeats_word:
        # "Approved by Ana." instead of "Approved. Approved by Ana."
        headline = markup.bold(status.word) + sentence.removeprefix(status.word)
    else:
        headline = markup.bold(f"{status.word}.") + (f" {sentence}" if detail else "")
    is_open = status.tone in OPEN_TONES
    link = desk_link(message)
    if is_open:
        headline += f"\n{markup.link('Read it and decide', link)}"
    elif facts.is_stoppable:
        headline += f"\n{markup.link('Read it, or stop it', link)}"
    return Card(
        title=markup.plain(destination.shown_subject(message), MAX_TITLE),
        url=link,
        description=headline,
        tone=status.tone,
        fields=_fields(facts, markup, is_open=is_open),
        word=status.word,
        message=message.public_id,
        revision=message.revision_id,
        shows_all=shows_all(message, destination, markup),
    )


def triggered_by(trigger: dict[str, Any]) -> str:
    """Return who or what started the message, as its sender claims."""
    user = trigger.get("discord_user")
    channel = trigger.get("discord_channel")
    guild = trigger.get("discord_guild")
    if user:
        channel_words = f" in #{str(channel).lstrip('#')}" if channel else ""
        # Discord gives programs a server's id instead of its name; the id means nothing
        # to people.
        is_named = guild and not str(guild).isdigit()
        return f"{user}{channel_words}{f' ({guild})' if is_named else ''}"
    run = trigger.get("run_id") or trigger.get("runId")
    return f"run {run}" if run else "an agent, through the API"


def _fields(facts: CardFacts, markup: Markup, *, is_open: bool) -> list[Field]:
    """Return the fields in this order: addresses, files, and who started the message;
    if it is held, since when; then findings, text and ids.
    """
    message = facts.message
    minimal = facts.destination.is_minimal
    revision = message.revision
    content = revision.content if revision else {}
    fields = Fields(markup, facts.destination)
    fields.addresses("From", [message.sender])
    fields.addresses("To", message.recipients)
    for name in ("cc", "bcc"):
        if revision and (copied := copied_to(revision, name)):
            fields.addresses(name.capitalize(), copied)
    files = [str(one["name"]) for one in content.get("attachments") or ()]
    if files and minimal:
        fields.text("Files", str(len(files)), inline=True)
    elif files:
        file_names = ", ".join(files[:MAX_LISTED])
        fields.text("Files", file_names, MAX_FIELD, rest=len(files) - MAX_LISTED)
    fields.text("Source", triggered_by(message.trigger))
    if is_open:
        fields.moment("Held", message.held_at)
        if message.expires_at:
            fields.moment("Expires", message.expires_at)
        if facts.approvals:
            fields.text("Approvals", facts.approvals, 3 * MAX_NAME, inline=True)
        fields.text("Claimed by", facts.claimed_by or "nobody", MAX_NAME, inline=True)
    if facts.risk:
        name = "Findings · high risk" if facts.risk_level == "high" else "Findings"
        fields.text(name, facts.risk, MAX_FIELD)
    if facts.alike and not minimal:
        # Three lines: the domain as written, a caret under each letter that differs,
        # and the known domain.
        names = compare_names(*facts.alike)
        written_line = "".join(text for _, text in names.written).rstrip()
        known_line = "".join(text for _, text in names.known).rstrip()
        carets = "".join(
            " ^"[differs] * len(text) for differs, text in names.written
        ).rstrip()
        lines = markup.aligned((written_line, carets, known_line))
        fields.append(Field("Look-alike", lines, is_formatted=True))
    text = text_in(content, "markdown").strip()
    if facts.destination.privacy == Destination.Privacy.FULL and text:
        fields.text("Message", text, MAX_TEXT)
    if facts.reason and not minimal:
        fields.text("Reason", facts.reason, MAX_REASON)
    fields.text("Message ID", message.upstream_id, inline=True)
    if revision:
        fields.text("Fingerprint", revision.short_fingerprint, inline=True)
    return fields


def read_message(key: int | None) -> Message:
    """Return a message as it is now, with its mailbox, revision and decisions. Raises
    Message.DoesNotExist.
    """
    decisions = Prefetch(
        "decisions", Decision.objects.select_related("given_by").order_by("-pk")
    )
    message: Message = (
        desk_messages()
        .select_related("connection", "mailbox", "revision", "review")
        .prefetch_related(decisions)
        .get(pk=key)
    )
    return message
