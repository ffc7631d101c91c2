"""The columns that the queue sorts, filters and searches by, computed when a content is stored.

A verdict rests on the revision alone.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib.postgres.search import SearchVectorField
from django.db.models import Value
from django.db.models.functions import Cast

from approvals.examination.weights import weights_in_force
from common.fingerprint import Content
from common.words import BY, FROM, LETTER, MAX_TEXT, TO, vector, words_of, words_of_address
from mirror.models import Mailbox, Message
from mirror.recipients import addresses_of, in_compared_form, written_to
from rendering.html_reading import tokens
from rendering.result import Doubt
from risk.addresses import bare_address, everybody
from risk.score import score_of
from risk.similarity import amounts, bands, shape

log = logging.getLogger(__name__)


def queue_columns(message: Message, *, content: Content, findings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the columns of a message that follow from its content and its findings, to be stored with it.

    A message that cannot be sorted must still be read: whatever goes wrong here leaves the columns as for an empty one.
    """
    try:
        return {**_people(message, content), **_letter(message, content), **risk_facets(findings)}
    except Exception:
        log.exception("no facets of a message", extra={"about": str(message.public_id)})
        return {"search": _stored(""), "written_to": None}


def risk_facets(findings: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the queue sorts by: points, level, and the rules that saw something."""
    found = list(findings)
    sum_of = score_of(found, weights_in_force())
    names = dict.fromkeys(str(one.get("rule", ""))[:40] for one in found)
    return {"risk": sum_of.points, "risk_level": sum_of.level, "rules": list(filter(None, names))}


def _people(message: Message, content: Content) -> dict[str, Any]:
    recipients = [address.lower() for address in everybody(content)]
    known = Mailbox.objects.addresses_in(message.connection_id)
    ours = {address.rpartition("@")[2].lower() for address in known}
    outside = [one for one in recipients if one.rpartition("@")[2] not in ours]
    return {
        "addresses": addresses_of(recipients, sender=content.sender, direction=message.direction),
        "written_to": in_compared_form(written_to(content)),
        # What came in goes to an agent, whatever its addresses say.
        "outside": 0 if message.direction == "inbound" else len(outside),
        "started_by": started_by(message),
        "run_id": str(message.trigger.get("run_id") or message.trigger.get("runId") or "")[:200],
    }


def started_by(message: Message) -> str:
    """Return who or what started a message in one spelling: "discord:dana", "key:Invoices", or nothing."""
    if message.direction == "inbound":
        return ""
    user = message.trigger.get("discord_user") or message.trigger.get("discord_user_id")
    key = message.sent_by_key_name or message.sent_by_key
    told = f"discord:{user}" if user else f"key:{key}" if key else ""
    return told[:200]


def _letter(message: Message, content: Content) -> dict[str, Any]:
    text = text_of(content)
    named = (*content.to, *content.cc, *content.bcc)
    senders = filter(None, (content.sender, content.reply_to))
    # In an order of their own: PostgreSQL keeps none.
    trigger = [str(value) for _, value in sorted(message.trigger.items()) if isinstance(value, str | int | float)]
    parts = (
        (FROM, [word for one in senders for word in words_of_address(bare_address(one))]),
        (FROM, words_of(content.sender_name)),
        (BY, [word for told in (started_by(message), *trigger[:50]) for word in words_of(told[:500])]),
        (LETTER, words_of(content.subject)),
        (TO, [word for one in everybody(content) for word in words_of_address(one)]),
        (TO, [word for one in named for word in words_of(one.rpartition("<")[0])]),
        (LETTER, [word for one in content.attachments for word in words_of(one.name)]),
        (LETTER, words_of(text)),
    )
    return {
        "shape": shape(content),
        "bands": bands(content),
        "amounts": amounts(f"{content.subject}\n{text}"),
        "has_attachments": bool(content.attachments),
        "search": _stored(vector(parts)),
    }


def _stored(words: str) -> Cast:
    return Cast(Value(words), SearchVectorField())


def text_of(content: Content) -> str:
    """Return what a message says, in all of its parts, without markup."""
    parts = [content.markdown or ""]
    if content.html is not None:
        try:
            parts.append(" ".join(one.data for one in tokens(content.html) if one.kind in ("text", "lost")))
        except Doubt:
            parts.append(content.html)
    return "\n".join(part[:MAX_TEXT] for part in parts)
