"""The facts that rules ask of a message, from its columns: no content is read for them.

`stored_facts` works out at once what the columns lack, when a version of a message is
stored.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from common.fingerprint import Content
from mirror.attachments.file_types import claimed_by_ending, claimed_by_type
from mirror.models import Message
from policy.rules.conditions import Amount, MessageFacts, own_word_key
from policy.rules.hours import Calendars
from risk.sums import Sums

# The columns of messages that `facts_of` reads.
COLUMNS = (
    "connection",
    "mailbox",
    "direction",
    "sent_by_key",
    "written_to",
    "trigger",
    "try_number",
)


class Examined(Protocol):
    """What the desk has worked out of a message: its risk, the rules with findings, and
    `stored_facts`.
    """

    risk_level: str
    rules: Any
    policy_facts: Any


# A message with so many findings of own words may contain more of them
# (risk.check_words.MOST).
_MOST_WORDS = 20
_FIRST_CONTACT = "first_contact"
# What of a trigger claims that a message comes from there.
CLAIMED = {
    "discord": ("discord_user", "discord_user_id", "discord_interaction_id"),
    "edit": ("countersign_edit",),
}
_WORD = re.compile(r"\A“([^“”]*)”")


def stored_facts(
    content: Content, sums: Sums, findings: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what a message's columns lack, to be stored with them. A sum that could
    not be read makes all unknown.
    """
    shows_text = "markdown" in content.coverage or "html" in content.coverage
    return {
        "amounts": dict(sums.largest) if shows_text and not sums.unread else None,
        "unread_sums": list(sums.unread),
        "attachments": _kinds(content) if "attachments" in content.coverage else None,
        "own_words": own_words_in(findings),
    }


def own_words_in(findings: Iterable[Mapping[str, Any]]) -> list[str] | None:
    """Return the own words that stored findings are about; None where there may be more
    than they name.
    """
    named = [
        str(one.get("sentence") or "")
        for one in findings
        if one.get("rule") == "own_word"
    ]
    words = [found for one in named if (found := _WORD.match(one))]
    if len(words) < len(named) or len(named) >= _MOST_WORDS:
        return None
    return sorted({own_word_key(found[1]) for found in words})


def facts_of(
    message: Message,
    examined: Examined,
    *,
    now: datetime,
    key_owners: Collection[int] | None = (),
    lists: Collection[int] | None = (),
    calendars: Calendars | None = None,
    is_our_gateway: bool | None = None,
) -> MessageFacts:
    """Return the facts about a message.

    `key_owners` are the owners of its API key, and `lists` the allowlists that name one
    of its recipients, where a rule asks. Only our own gateway says which key a message
    came with.
    """
    is_inbound = message.direction == "inbound"
    key: str | None = ""
    if not is_inbound:
        proves = (
            message.connection.is_our_gateway
            if is_our_gateway is None
            else is_our_gateway
        )
        key = (
            f"{message.connection_id}:{message.sent_by_key}"
            if proves and message.sent_by_key
            else None
        )
    # Where its columns could not be worked out, those that are empty say nothing.
    is_known = message.written_to is not None
    stored = examined.policy_facts if isinstance(examined.policy_facts, dict) else {}
    return MessageFacts(
        connection=message.connection_id,
        now=now,
        mailbox=message.mailbox_id,
        is_inbound=is_inbound,
        key=key,
        key_owners=None if key is None or key_owners is None else frozenset(key_owners),
        recipients=tuple(message.written_to)
        if message.written_to is not None
        else None,
        lists=None if lists is None else frozenset(lists),
        is_first_contact=_FIRST_CONTACT in examined.rules if is_known else None,
        risk_level=examined.risk_level if is_known else None,
        findings=frozenset(examined.rules) if is_known else None,
        own_words=_as_set(stored.get("own_words")),
        amounts=amounts_in(stored.get("amounts")),
        unread_sums=tuple(map(str, stored.get("unread_sums") or ())),
        attachments=_as_set(stored.get("attachments")),
        origins=_origins(message.trigger, is_inbound=is_inbound),
        tries=message.try_number,
        calendars=calendars or {},
    )


def _kinds(content: Content) -> list[str]:
    """Return families and kinds of the attached files, as their names and their
    declared types claim them.
    """
    found = set()
    for one in content.attachments:
        claims = (
            claimed_by_ending(one.name.rpartition(".")[2]),
            claimed_by_type(one.content_type),
        )
        named = [claim for claim in claims if claim is not None]
        found |= {word for claim in named for word in (claim.family, claim.name)} or {
            "other",
            "unknown",
        }
    return sorted(found)


def _origins(trigger: Mapping[str, Any], *, is_inbound: bool) -> frozenset[str]:
    """Return what a message may have come from. Its sender wrote the trigger, so what
    that claims is never certain.
    """
    if is_inbound:
        return frozenset({"received"})
    named = {
        origin
        for origin, names in CLAIMED.items()
        if any(trigger.get(name) for name in names)
    }
    return frozenset({"agent", *named})


def _as_set(stored: object) -> frozenset[str] | None:
    return frozenset(map(str, stored)) if isinstance(stored, list) else None


def amounts_in(stored: object) -> tuple[Amount, ...] | None:
    """Return the sums that `stored_facts` stored; None where they are not known."""
    if not isinstance(stored, dict):
        return None
    try:
        return tuple(
            Amount(Decimal(str(value)), str(currency))
            for currency, value in stored.items()
        )
    except InvalidOperation:
        return None
