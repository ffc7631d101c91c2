"""Builds the cards that are not about a message of the desk: about a connection, a
flood of messages, the desk, mail that an allowlist refused, or a change that waits for
a second admin.
"""

from django.conf import settings
from django.urls import reverse

from alerts.cards.markup import Card, Fields, Markup
from alerts.cards.message import triggered_by
from alerts.ledger_events import CHANGE_ASKED, LEDGER_CHECKED, OF_BRAKE, REFUSED
from alerts.models import Destination
from approvals.models import Brake
from audit.models import Entry
from audit.sealing.signing import checkpoint
from common.mail_addresses import masked_address, without_addresses
from common.tables import table_rows
from mirror.models import Connection

# In UTF-16 units.
MAX_NAME = 80
MAX_EXPLANATION = 700


# By action: a title, a colour, and a sentence about the effect and what to do.
_NOTICES = {
    action: columns
    for action, *columns in table_rows("""
connection.failing | Not reachable | rose |
    New messages held there may be missing from the desk. The desk keeps trying.
connection.paused | Paused | orange | Its decisions are not carried out until it is resumed.
connection.paused_by_hand | Paused | orange | Its decisions are not carried out until it is resumed.
connection.recovered | Reachable again | green | The queue is being brought up to date.
connection.resumed | Resumed | green | Decisions are carried out again.
connection.capability_changed | MultiMail changed | plain | The desk goes by what it can do now.
connection.fields_refused | MultiMail changed | plain | The desk goes by what it can do now.
mailbox.seen_looser | Looser mailbox | orange | Its oversight was loosened outside this desk.
connection.decided_elsewhere | Decided elsewhere | orange | Not by this desk.
brake.opened | Messages over limit | orange |
    An agent exceeded a limit. What it sends is held apart from the queue, without a card for each.
    Open it to pause the key, to return the messages to the queue, or to reject them.
brake.ended | Within limits again | plain |
    New messages go to the queue again. Those over limit still wait for somebody.
connection.removed | Removed | plain | The desk no longer reads it.
""")
}
_UNKNOWN = ["Changed", "plain", "Open the desk."]


def notice_card(
    about: str, entry: Entry | None, destination: Destination, markup: Markup
) -> Card:
    """Return the card of what `about` names, such as "connection/4" or "brake/9".
    `entry` is the act that it shows.
    """
    minimal = destination.privacy == Destination.Privacy.MINIMAL
    if entry and entry.action == REFUSED:
        return _refusal_card(entry, markup, minimal=minimal)
    if entry and entry.action == CHANGE_ASKED:
        return _change_card(entry, markup, minimal=minimal)
    if entry and entry.action == LEDGER_CHECKED:
        return _checkpoint_card(markup)
    kind, _, key = about.partition("/")
    number = int(key) if key.isdecimal() else None
    word, tone, detail = _NOTICES.get(entry.action if entry else "", _UNKNOWN)
    fields = Fields(markup)
    if entry:
        fields.moment("Since", entry.at)
    if kind == "brake":
        # A brake holds a flood of messages apart; all of them have this one card.
        brake = Brake.objects.filter(pk=number).first() if number else None
        is_over = brake is not None and brake.ended_at is not None
        word, tone, detail = _NOTICES["brake.ended" if is_over else "brake.opened"]
        path = reverse("brake", args=[brake.pk]) if brake else reverse("brakes")
        title = word
        subject = "messages over limit"
    else:
        if kind != "connection":
            number = entry.connection if entry else None
        connection = Connection.objects.filter(pk=number).first() if number else None
        path = reverse("queue")
        title = f"The desk: {word.lower()}"
        subject = "the desk"
        if connection:
            path = reverse("connection", args=[connection.pk])
            title = f"{markup.plain(connection.name, MAX_NAME)}: {word.lower()}"
            subject = "a connection"
        if connection and connection.complete_as_of:
            fields.moment("Queue up to date", connection.complete_as_of)
    description = f"{markup.bold(f'{word}.')} {detail}"
    if entry and (explanation := entry.details.get("explanation")):
        if minimal:
            explanation = without_addresses(explanation)
        description += f"\n{markup.literal(explanation, MAX_EXPLANATION)}"
    return Card(
        title=title,
        url=f"{settings.PUBLIC_URL}{path}",
        description=description,
        tone=tone,
        fields=fields,
        footer=f"Countersign · about {subject}",
        word=word,
    )


def newest_entry(about: str, planned: int | None) -> Entry | None:
    """Return the entry of the act that a card shows.

    For a connection it is the newest, since several acts may be waiting for one post;
    for everything else, `planned` is the key of the entry.
    """
    entries = Entry.objects.with_details()
    kind, _, key = about.partition("/")
    number = int(key) if key.isdecimal() else None
    if kind == "connection" and number is not None:
        # A flood has a card of its own.
        actions = [action for action in _NOTICES if action not in OF_BRAKE]
        newest = entries.filter(connection=number, message=None, action__in=actions)
        return newest.newest_first().first()
    # Each refusal and each change has its own card.
    entry_id = number if kind in ("refusal", "change") else planned
    return entries.filter(pk=entry_id).first() if entry_id is not None else None


def _refusal_card(entry: Entry, markup: Markup, *, minimal: bool) -> Card:
    """Return the card of mail that an allowlist refused. It was never held, so there is
    nothing to decide.
    """
    details = entry.details
    started = triggered_by(entry.trigger)
    mailbox = details.get("mailbox", "")
    rule = details.get("rule", "")
    if minimal:
        started = without_addresses(started)
        mailbox = masked_address(mailbox) if mailbox else ""
        rule = without_addresses(rule)
    fields = Fields(markup)
    fields.text("From", mailbox, inline=True)
    for name, key in (("To", "recipients"), ("Refused", "refused")):
        if listed := details.get(key, ""):
            if minimal:
                listed = ", ".join(map(masked_address, listed.split(", ")))
            fields.text(name, listed, 600)
    fields.text("Triggered by", started, 256, inline=True)
    if rule:
        fields.text("Rule", rule, 256, inline=True)
    fields.moment("When", entry.at)
    return Card(
        title="Message to a blocked recipient",
        url=f"{settings.PUBLIC_URL}{reverse('audit')}?action={REFUSED}",
        description=f"{markup.bold('Blocked recipient.')} "
        "Nothing was sent, and there is nothing to review. The sender was told why.",
        tone="rose",
        fields=fields,
        footer="Countersign · blocked recipient",
        word="Blocked recipient",
    )


def _checkpoint_card(markup: Markup) -> Card:
    """Return the card with the newest checkpoint of the ledger, which the verifier takes
    with --head. A copy at a third party shows if the ledger was changed later.
    """
    return Card(
        title="The ledger was checked",
        url=f"{settings.PUBLIC_URL}{reverse('ledger-state')}",
        description=f"{markup.bold('Everything holds.')} This is its newest checkpoint."
        f"\n{markup.aligned([checkpoint()])}",
        tone="plain",
        fields=(),
        footer="Countersign · about the ledger",
        word="Checked",
    )


def _change_card(entry: Entry, markup: Markup, *, minimal: bool) -> Card:
    """Return the card of a change that waits for a second admin, who accepts it on the
    desk and not on the card.

    At the minimal level it shows only the kind of the change, which may name people.
    """
    details = entry.details
    fields = Fields(markup)
    if not minimal:
        for name, key in (
            ("Now", "before"),
            ("Then", "after"),
            ("Asked by", "asked_by"),
            ("Reason", "reason"),
        ):
            fields.text(name, details.get(key, ""), 600)
    fields.moment("Since", entry.at)
    subject = markup.literal(
        details.get("kind" if minimal else "change", ""), MAX_EXPLANATION
    )
    return Card(
        title="A change waits for a second admin",
        url=f"{settings.PUBLIC_URL}{reverse('pending-changes')}",
        description=f"{markup.bold('Waiting for a second admin.')} {subject}",
        tone="amber",
        fields=fields,
        footer="Countersign · change of policy",
        word="Waiting for a second admin",
    )
