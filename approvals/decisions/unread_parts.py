"""Which parts of a letter there are beside its text, and which of them a person was given: files, links, thread.

What nobody opened keeps nobody from deciding; it is counted, shown beside the decision and written into the ledger.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from approvals.models import OpenedPart
from audit.recording import record
from mirror.models import AttachedFile, Message
from mirror.threads.conversation import Conversation
from people.actors import Actor
from rendering import named

_LINK = re.compile(r"https?://|\bwww\.|mailto:|\bhref\s*=", re.IGNORECASE)


@dataclass(frozen=True)
class Part:
    """One part: the key under which it is noted, its name for people, and where it stands on the page."""

    key: str
    name: str
    anchor: str


def parts_of(message: Message, conversation: Conversation) -> list[Part]:
    """Return the parts of the current version, each by what it holds: other bytes or a newer letter are unread."""
    if message.revision is None:
        return []
    content = message.revision.content
    parts = []
    if content.get("attachments"):
        files = AttachedFile.objects.filter(revision=message.revision).without_bytes().in_place()
        parts = [Part(key_of(file), named(file.name)[:80], "attachments") for file in files]
    if _LINK.search(f"{content.get('markdown') or ''} {content.get('html') or ''}"):
        parts.append(Part(links_key(message), "the links", "links"))
    if conversation.letters:
        parts.append(Part(conversation.part, "the thread", "thread"))
    return parts


def unread_parts(message: Message, *, person: int, conversation: Conversation) -> list[Part]:
    """Return the parts that this person was never given."""
    parts = parts_of(message, conversation)
    opened = OpenedPart.objects.of(message, person=person) if parts else set()
    return [part for part in parts if part.key not in opened]


def key_of(file: AttachedFile) -> str:
    """Return the key of a file: of its bytes, which a next version may have too."""
    return f"file:{file.found_sha256 or file.pk}"


def links_key(message: Message) -> str:
    """Return the key of the links: of this version."""
    return f"links:{message.revision_id}"


@transaction.atomic
def note_opened_part(
    message: Message,
    *,
    key: str,
    actor: Actor,
    action: str = "",
    details: Mapping[str, Any] | None = None,
    each_time: bool = False,
) -> None:
    """Note that the actor was given a part; in the ledger, where it has an act for that, the first time or each."""
    if actor.kind != "person":
        return
    _, is_new = OpenedPart.objects.get_or_create(message=message, person_id=int(actor.id), part=key)
    if action and (is_new or each_time):
        record(
            action,
            actor=actor,
            connection=message.connection_id,
            message=message.public_id,
            fingerprint=message.revision.fingerprint if message.revision else "",
            details=details,
            words=message.ledger_words(),
        )
