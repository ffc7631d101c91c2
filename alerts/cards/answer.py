"""What is posted back in the channel where a command began: what became of the message, and why."""

from typing import Any

from alerts.cards.card import COLOURS, payload
from alerts.cards.facts import link_to, status_on_card
from alerts.channels.discord import markdown as text
from alerts.channels.discord.markdown import MAX_SHORT, literal
from alerts.models import Destination
from approvals.models import Decision
from audit.models import Entry
from common.mail_addresses import masked_address, without_addresses
from common.references import without_references
from mirror.models import Message
from mirror.states import DecisionState, Outcome

MAX_TITLE, MAX_REASON = 150, 600
# What an act is called here, and its colour; decisions are told with who took them.
_ACTS = {
    "message.approved": ("Approved", "green", "It is on its way."),
    "message.released": ("Released", "green", "The agent can read it."),
    "message.rejected": ("Rejected", "rose", "Nothing was sent."),
    "message.sent": ("Sent", "green", "The mail server has taken it."),
    "message.delivered": ("Delivered", "green", "Accepted by the mail server; nobody knows whether it was read."),
    "message.bounced": ("Bounced", "rose", "The recipient's server refused it."),
    "message.complained": ("Complained of", "rose", "The recipient marked it as spam."),
    "message.failed": ("Failed", "rose", "It could not be sent."),
    "message.cancelled": ("Cancelled", "plain", "Nothing was sent."),
}
_DECIDED = ("message.approved", "message.released", "message.rejected")


def answer_body(message: Message, entry: Entry, destination: Destination) -> dict[str, Any]:
    """Return what the channel is told of this act on the message: short, and nobody is pinged."""
    minimal = destination.privacy == Destination.Privacy.MINIMAL
    decision = _decision(message) if entry.action in _DECIDED else None
    word, tone, means = _ACTS.get(entry.action) or _as_it_stands(message)
    if decision and decision.outcome == Outcome.SEND_BACK:
        word, means = "Changes requested", "Nothing was sent: change it, and send it again."
    reason = _reason(message, entry, decision)
    title = "A message" if minimal else message.subject.strip() or "(no subject)"
    fields = [text.field("Message ID", message.upstream_id, MAX_SHORT, inline=True)]
    recipients = [masked_address(str(one)) if minimal else str(one) for one in message.recipients[:3]]
    more = len(message.recipients) - len(recipients)
    fields.insert(0, text.field("To", ", ".join(recipients) + (f" and {more} more" if more else ""), 512, inline=True))
    if requester := str(message.trigger.get("discord_user") or ""):
        # As text: who asked is told apart by it, and not called.
        fields.append(
            text.field("Asked for by", without_addresses(requester) if minimal else requester, 100, inline=True)
        )
    return payload(
        {
            "title": literal(title, MAX_TITLE),
            "url": link_to(message),
            "description": _words(word, _who(message, decision), means, _hidden(reason, minimal=minimal)),
            "color": COLOURS[tone],
            "fields": fields,
            "footer": {"text": "Countersign"},
        }
    )


def answer_word(message: Message, entry: Entry) -> str:
    """Return in a word or two what the answer says."""
    decision = _decision(message) if entry.action in _DECIDED else None
    if decision and decision.outcome == Outcome.SEND_BACK:
        return "Changes requested"
    return (_ACTS.get(entry.action) or _as_it_stands(message))[0]


def _as_it_stands(message: Message) -> tuple[str, str, str]:
    status = status_on_card(message)
    return status.word, status.tone, literal(status.detail)


def _decision(message: Message) -> Decision | None:
    """Our own decision that took effect, if it was ours."""
    applied = message.decisions.filter(state__in=(DecisionState.APPLIED, DecisionState.CALLING))
    return applied.select_related("given_by").order_by("-pk").first()


def _who(message: Message, decision: Decision | None) -> str:
    return literal(decision.giver if decision else "", 100)


def _reason(message: Message, entry: Entry, decision: Decision | None) -> str:
    """Why: the reviewer's words, or what MultiMail repeats of them, or says of a bounce."""
    if entry.action in _DECIDED:
        return (decision.reason if decision else "") or without_references(message.upstream_reason)
    details = entry.detail.fields if hasattr(entry, "detail") else {}
    return str(details.get("reason") or details.get("explanation") or "")


def _hidden(reason: str, *, minimal: bool) -> str:
    return literal(without_addresses(reason) if minimal else reason, MAX_REASON)


def _words(word: str, who: str, means: str, reason: str) -> str:
    by = f" by {who}" if who else ""
    return f"**{word}**{by}.{f' {means}' if means else ''}" + (f"\n> {reason}" if reason.strip() else "")
