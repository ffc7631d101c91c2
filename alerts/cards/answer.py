"""What is posted back in the channel where a command began: what became of the message,
and why.
"""

from alerts.cards.markup import MAX_SHORT, Card, Fields, Markup
from alerts.cards.message import card_status, desk_link
from alerts.models import Destination
from approvals.models import Decision
from audit.models import Entry
from common.mail_addresses import masked_address, without_addresses
from common.references import without_references
from mirror.models import Message
from mirror.states import DecisionState, Outcome
from rendering.passages import without_passage

MAX_TITLE = 150
MAX_REASON = 600
# What an act is called here, its colour, and what it means; decisions also say who made
# them.
_ACTIONS = {
    "message.approved": ("Approved", "green", "It is being sent."),
    "message.released": ("Released", "green", "The agent can read it."),
    "message.rejected": ("Rejected", "rose", "Nothing was sent."),
    "message.sent": ("Sent", "green", "The mail server accepted it."),
    "message.delivered": (
        "Delivered",
        "green",
        "Accepted by the recipient's mail server; not necessarily read.",
    ),
    "message.bounced": ("Bounced", "rose", "The recipient's server refused it."),
    "message.complained": ("Complained of", "rose", "The recipient marked it as spam."),
    "message.failed": ("Failed", "rose", "It could not be sent."),
    "message.cancelled": ("Cancelled", "plain", "Nothing was sent."),
}
_DECISIONS = ("message.approved", "message.released", "message.rejected")


def answer_card(
    message: Message, entry: Entry, destination: Destination, markup: Markup
) -> Card:
    """Return the answer about this act on the message: short, and nobody is pinged."""
    minimal = destination.privacy == Destination.Privacy.MINIMAL
    decision: Decision | None = None
    if entry.action in _DECISIONS:
        # The desk's own decision that took effect, if there is one.
        applied = message.decisions.filter(
            state__in=(DecisionState.APPLIED, DecisionState.CALLING)
        )
        decision = applied.select_related("given_by").order_by("-pk").first()
    if (known := _ACTIONS.get(entry.action)) is not None:
        word, tone, meaning = known
    else:
        status = card_status(message)
        word = status.word
        tone = status.tone
        meaning = markup.literal(status.detail)
    if decision and decision.outcome == Outcome.SEND_BACK:
        word = "Changes requested"
        meaning = "Nothing was sent. Change it and send it again."
    if entry.action not in _DECISIONS:
        reason = entry.details.get("reason") or entry.details.get("explanation") or ""
    elif decision and decision.reason:
        reason = decision.reason
    else:
        # What MultiMail repeats of the reviewer's words.
        reason = without_references(message.upstream_reason)
    if destination.privacy != Destination.Privacy.FULL:
        reason = without_passage(reason)
    recipients = [
        masked_address(str(one)) if minimal else str(one)
        for one in message.recipients[:3]
    ]
    rest = len(message.recipients) - len(recipients)
    fields = Fields(markup)
    fields.text("To", ", ".join(recipients), 512, rest=rest, inline=True)
    fields.text("Message ID", message.upstream_id, MAX_SHORT, inline=True)
    if requester := str(message.trigger.get("discord_user") or ""):
        # Plain text, so that the name is visible but nobody is pinged.
        name = without_addresses(requester) if minimal else requester
        fields.text("Requested by", name, 100, inline=True)
    description = markup.bold(word)
    if decision and decision.giver:
        description += f" by {markup.literal(decision.giver, 100)}"
    description += f". {meaning}" if meaning else "."
    if minimal:
        reason = without_addresses(reason)
    quoted = markup.literal(reason, MAX_REASON)
    if quoted.strip():
        description += f"\n{markup.quote(quoted)}"
    title = "A message" if minimal else message.subject.strip() or "(no subject)"
    return Card(
        title=markup.plain(title, MAX_TITLE),
        url=desk_link(message),
        description=description,
        tone=tone,
        fields=fields,
        word=word,
    )
