"""Builds the cards that are not about one message of the desk: about a connection, a
flood of messages, the desk, mail that an allowlist refused, a change that waits for a
second admin; and of a digest, one post in place of many cards.
"""

from django.conf import settings
from django.urls import reverse

from alerts.cards.markup import Card, Field, Fields, Markup
from alerts.cards.message import triggered_by
from alerts.ledger_events import CHANGE_ASKED, LEDGER_CHECKED, REFUSED
from alerts.models import Card as CardRow
from alerts.models import Destination
from approvals.desk_messages import desk_messages
from approvals.models import Brake
from audit.models import Entry
from audit.sealing.signing import checkpoint
from mirror.models import Connection

# In UTF-16 units.
MAX_NAME = 80
MAX_EXPLANATION = 700
# How many messages the card of a digest lists by subject, each in so many UTF-16 units.
MAX_LISTED = 10
_MAX_TITLE = 90

# By action: a title, a colour, and a sentence about the effect and what to do.
_NOTICES = {
    "connection.failing": (
        "Not reachable",
        "rose",
        "New messages held there may be missing from the desk. The desk keeps trying.",
    ),
    "connection.paused": (
        "Paused",
        "orange",
        "Its decisions are not carried out until it is resumed.",
    ),
    "connection.paused_by_hand": (
        "Paused",
        "orange",
        "Its decisions are not carried out until it is resumed.",
    ),
    "connection.recovered": (
        "Reachable again",
        "green",
        "The queue is being brought up to date.",
    ),
    "connection.resumed": (
        "Resumed",
        "green",
        "Decisions are carried out again.",
    ),
    "connection.capability_changed": (
        "MultiMail changed",
        "plain",
        "The desk goes by what it can do now.",
    ),
    "connection.fields_refused": (
        "MultiMail changed",
        "plain",
        "The desk goes by what it can do now.",
    ),
    "mailbox.seen_looser": (
        "Looser mailbox",
        "orange",
        "Its oversight was loosened outside this desk.",
    ),
    "connection.decided_elsewhere": (
        "Decided elsewhere",
        "orange",
        "Not by this desk.",
    ),
    "brake.opened": (
        "Messages over limit",
        "orange",
        "An agent exceeded a limit. What it sends is listed as over limit, without a card for each. Open it to pause "
        "the key, to return the messages to the queue, or to reject them.",
    ),
    "brake.ended": (
        "Within limits again",
        "plain",
        "New messages go to the queue again. Those over limit still wait for somebody.",
    ),
    "connection.removed": (
        "Removed",
        "plain",
        "The desk no longer reads it.",
    ),
    "message.refused_at_gate": (
        "Blocked recipient",
        "rose",
        "Nothing was sent, and there is nothing to review. The sender was told why.",
    ),
    "ledger.checked": (
        "Everything holds",
        "plain",
        "This is the newest checkpoint, which the verifier takes with --head. A copy at a third party shows if the "
        "ledger was changed later.",
    ),
    "change.asked": (
        "Waiting for a second admin",
        "amber",
        "",
    ),
}
# The fields of a card and where the details of its entry have them.
_REFUSED_ADDRESSES = {"From": "mailbox", "To": "recipients", "Refused": "refused"}
_CHANGED = {
    "Now": "before",
    "Then": "after",
    "Asked by": "asked_by",
    "Reason": "reason",
}
_UNKNOWN = ("Changed", "plain", "Open the desk.")


def notice_card(
    about: str, entry: Entry | None, destination: Destination, markup: Markup
) -> Card:
    """Return the card of what `about` names, such as "connection/4" or "brake/9".
    `entry` is the act that it shows.
    """
    kind, number = _kind_and_key(about)
    action = entry.action if entry else ""
    fields = Fields(markup, destination)
    brake = connection = None
    if kind == "brake":
        # A brake holds a flood of messages apart; all of them have this one card.
        brake = Brake.objects.filter(pk=number).first()
        action = "brake.ended" if brake and brake.ended_at else "brake.opened"
    elif kind == "connection":
        connection = Connection.objects.filter(pk=number).first()
    word, tone, detail = _NOTICES.get(action, _UNKNOWN)
    title = word
    path = reverse("queue")
    if entry and action == REFUSED:
        title = "Message to a blocked recipient"
        path = f"{reverse('audit')}?action={REFUSED}"
        _add_refusal(fields, entry)
    elif entry and action == CHANGE_ASKED:
        title = "A change waits for a second admin"
        path = reverse("pending-changes")
        detail = _add_change(fields, entry)
    elif action == LEDGER_CHECKED:
        title = "The ledger was checked"
        path = reverse("ledger-state")
        detail += f"\n{markup.aligned([checkpoint()])}"
    elif kind == "brake":
        path = reverse("brake", args=[brake.pk]) if brake else reverse("brakes")
    elif connection:
        title = f"{markup.plain(connection.name, MAX_NAME)}: {word.lower()}"
        path = reverse("connection", args=[connection.pk])
        if connection.complete_as_of:
            fields.moment("Queue up to date", connection.complete_as_of)
    if entry:
        fields.moment("When", entry.at)
        if explanation := destination.shown_text(entry.details.get("explanation", "")):
            detail += f"\n{markup.literal(explanation, MAX_EXPLANATION)}"
    return Card(
        title=title,
        url=f"{settings.PUBLIC_URL}{path}",
        description=f"{markup.bold(f'{word}.')} {detail}",
        tone=tone,
        fields=fields,
        word=word,
    )


def digest_card(digest: CardRow, destination: Destination, markup: Markup) -> Card:
    """Return the card of a digest as it is now. It is built again whenever one of its
    messages changes.
    """
    messages = desk_messages().filter(cards__digest=digest)
    waiting = messages.held()
    total = messages.count()
    number = waiting.count()
    title = f"{total} message{'' if total == 1 else 's'}, {number or 'none'} waiting"
    fields = []
    if high_risk := waiting.filter(review__risk_level="high").count():
        fields.append(Field("High risk", str(high_risk), inline=True))
    if total and not destination.is_minimal:
        newest = (waiting if number else messages).order_by("-held_at", "-pk")
        subjects = [
            markup.plain(one.strip() or "(no subject)", _MAX_TITLE)
            for one in newest.values_list("subject", flat=True)[:MAX_LISTED]
        ]
        name = "Newest waiting" if number else "Newest"
        fields.append(Field(name, "\n".join(subjects)))
    link = f"{settings.PUBLIC_URL}{reverse('queue')}"
    why = (
        "They arrived too quickly for separate cards, so this card is for all of them."
    )
    return Card(
        title=title,
        url=link,
        description=f"{markup.bold(why)}\n{markup.link('Open the queue', link)}",
        tone="amber" if number else "plain",
        fields=fields,
        footer="Countersign · updated automatically",
        word=title,
    )


def newest_entry(about: str, planned: int | None) -> Entry | None:
    """Return the entry of the act that a card shows.

    For a connection it is the newest, since several acts may be waiting for one post;
    for everything else, `planned` is the key of the entry.
    """
    entries = Entry.objects.with_details()
    kind, number = _kind_and_key(about)
    if kind == "connection":
        # The others have cards of their own, beside the one of their connection.
        actions = [
            one for one in _NOTICES if one.startswith(("connection.", "mailbox."))
        ]
        newest = entries.filter(connection=number, message=None, action__in=actions)
        return newest.newest_first().first()
    # Each refusal and each change has its own card.
    key = number if kind in ("refusal", "change") else planned
    return entries.filter(pk=key).first() if key is not None else None


def _kind_and_key(about: str) -> tuple[str, int]:
    kind, _, key = about.partition("/")
    return kind, int(key) if key.isdecimal() else 0


def _add_refusal(fields: Fields, entry: Entry) -> None:
    """Add the fields about mail that an allowlist refused. It was never held, so there
    is nothing to decide.
    """
    details = entry.details
    for name, key in _REFUSED_ADDRESSES.items():
        if listed := details.get(key):
            fields.addresses(name, listed.split(", "))
    fields.text("Source", triggered_by(entry.trigger), inline=True)
    if rule := details.get("rule"):
        fields.text("Rule", rule, inline=True)


def _add_change(fields: Fields, entry: Entry) -> str:
    """Add the fields about a change that waits for a second admin, who accepts it on
    the desk and not on the card. Return what changes.

    At the minimal level that is only the kind of the change, which may name people.
    """
    details = entry.details
    is_minimal = fields.destination.is_minimal
    if not is_minimal:
        for name, key in _CHANGED.items():
            fields.text(name, details.get(key, ""), 600)
    subject = details.get("kind" if is_minimal else "change", "")
    return fields.markup.literal(subject, MAX_EXPLANATION)
