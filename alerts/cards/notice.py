"""Cards that are about no message of the mirror: a connection, the desk itself, or mail refused at the gate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.urls import reverse

from alerts.cards.card import COLOURS, payload, triggered_by
from alerts.channels.discord import markdown as text
from alerts.channels.discord.markdown import literal, stamp
from alerts.events import REFUSED
from alerts.models import Destination
from audit.models import Entry
from common.mail_addresses import masked_address, without_addresses
from mirror.models import Connection

MAX_NAME, MAX_WHY = 80, 700


@dataclass(frozen=True)
class Notice:
    """`word` and `tone` as of a message's status; `means` says what it costs and what to do."""

    word: str
    tone: str
    means: str


_PAUSED = Notice("Paused", "orange", "Nothing is decided through it until it goes on.")
_NOTICES = {
    "connection.failing": Notice(
        "Cannot be reached",
        "rose",
        "New mail may be held there that is not on the desk yet. It is tried again by itself.",
    ),
    "connection.paused": _PAUSED,
    "connection.paused_by_hand": _PAUSED,
    "connection.recovered": Notice("Reached again", "green", "The queue is being brought up to date."),
    "connection.resumed": Notice("Goes on", "green", "Decisions are carried out again."),
    "connection.stale": Notice(
        "Out of date", "orange", "The queue may lack mail that is held. What stands there can still be decided."
    ),
    "connection.fresh_again": Notice("Up to date again", "green", "The queue is complete."),
    "connection.removed": Notice("Removed", "plain", "The desk does not ask it any more."),
}
_UNKNOWN = Notice("Changed", "plain", "Look at the desk.")


def notice_body(about: str, entry: Entry | None, destination: Destination) -> dict[str, Any]:
    """Return the card about `about`, such as "connection/4" or "desk", after the act of `entry`."""
    minimal = destination.privacy == Destination.Privacy.MINIMAL
    details: Mapping[str, str] = entry.detail.fields if entry is not None and hasattr(entry, "detail") else {}
    if entry is not None and entry.action == REFUSED:
        return payload(_refusal(entry, details, minimal=minimal))
    why = details.get("explanation", "")
    return payload(_standing(about, entry, without_addresses(why) if minimal else why))


def entry_now(about: str, planned: int | None) -> Entry | None:
    """Return the act that the card is to tell of: the newest, because several may have asked for one post."""
    entries = Entry.objects.select_related("detail")
    kind, _, key = about.partition("/")
    number = int(key) if key.isdecimal() else None
    if kind == "connection" and number is not None:
        newest = entries.filter(connection=number, message=None, action__in=_NOTICES)
        return newest.newest_first().first()
    # A refusal is told by itself: each is about mail of its own.
    wanted = number if kind == "refusal" else planned
    return entries.filter(pk=wanted).first() if wanted is not None else None


def notice_word(entry: Entry | None) -> str:
    """Return in a word or two what the card says."""
    if entry is not None and entry.action == REFUSED:
        return "Refused at the gate"
    return _notice(entry).word


def _notice(entry: Entry | None) -> Notice:
    return _NOTICES.get(entry.action, _UNKNOWN) if entry else _UNKNOWN


def _standing(about: str, entry: Entry | None, why: str) -> dict[str, Any]:
    notice, connection = _notice(entry), _connection(about, entry)
    path = reverse("connection", args=[connection.pk]) if connection else reverse("queue")
    told = f"\n{literal(why, MAX_WHY)}" if why else ""
    fields = [{"name": "Since", "value": stamp(entry.at), "inline": True}] if entry else []
    if connection and connection.complete_as_of:
        fields.append({"name": "Queue complete as of", "value": stamp(connection.complete_as_of), "inline": True})
    return {
        "title": f"{literal(connection.name, MAX_NAME) if connection else 'The desk'}: {notice.word.lower()}",
        "url": f"{settings.PUBLIC_URL}{path}",
        "description": f"**{notice.word}.** {notice.means}{told}",
        "color": COLOURS[notice.tone],
        "fields": fields,
        "footer": {"text": "Countersign · about a connection" if connection else "Countersign · about the desk"},
    }


def _refusal(entry: Entry, details: Mapping[str, str], *, minimal: bool) -> dict[str, Any]:
    """Mail that no allowlist let through: it was never held, nobody can decide it."""
    trigger = {key.partition(".")[2]: value for key, value in details.items() if key.startswith("trigger.")}
    named = ((name, details.get(kept, "")) for name, kept in (("To", "recipients"), ("Refused", "refused")))
    started = triggered_by(trigger)
    rule = details.get("rule", "")
    mailbox = details.get("mailbox", "")
    fields = [text.field("From", masked_address(mailbox) if minimal and mailbox else mailbox, inline=True)]
    fields += [text.field(name, _masked(all_of, minimal=minimal), 600) for name, all_of in named if all_of]
    fields.append(text.field("Triggered by", without_addresses(started) if minimal else started, 256, inline=True))
    if rule:
        fields.append(text.field("Rule", without_addresses(rule) if minimal else rule, 256, inline=True))
    fields.append({"name": "When", "value": stamp(entry.at), "inline": True})
    return {
        "title": "Mail refused at the gate",
        "url": f"{settings.PUBLIC_URL}{reverse('refusals')}",
        "description": "**Refused at the gate.** Nothing was sent, and nothing waits here. Its sender was told why.",
        "color": COLOURS["rose"],
        "fields": fields,
        "footer": {"text": "Countersign · refused at the gate"},
    }


def _masked(addresses: str, *, minimal: bool) -> str:
    return ", ".join(masked_address(one) for one in addresses.split(", ")) if minimal else addresses


def _connection(about: str, entry: Entry | None) -> Connection | None:
    kind, _, key = about.partition("/")
    number = int(key) if kind == "connection" and key.isdecimal() else entry.connection if entry else None
    return Connection.objects.filter(pk=number).first() if number is not None else None
