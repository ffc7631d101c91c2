"""Reads who started messages and who edited them: these people may not approve them."""

from collections.abc import Sequence

from django.db.models import Q

from approvals.models import CommandedMail, Replacement
from approvals.models.replacements import edit_of
from mirror.models import Message
from policy.evaluation import Contributors
from policy.models import KeyOwner


def contributors_of(messages: Sequence[Message]) -> dict[int, Contributors]:
    """Return who started and who edited each message, by the messages' keys, in three
    queries at most.
    """
    owners = _owners_of(messages)
    commanders = _commanders_of(messages)
    edits = Replacement.objects.that_made(messages).only(
        "connection", "upstream_id", "reference", "person", "editors", "authors"
    )
    found = {}
    for message in messages:
        connection = message.connection_id
        key_owners = owners.get((connection, _proven_key(message)), set())
        authors = {
            *key_owners,
            *commanders.get((connection, message.upstream_id), ()),
            *commanders.get((connection, _interaction_of(message)), ()),
        }
        editors: set[int] = set()
        last_editor = 0
        # The oldest first.
        for edit in edits:
            names_it = (
                edit.upstream_id == message.upstream_id
                if edit.upstream_id
                else edit.reference == edit_of(message)
            )
            if edit.connection_id == connection and names_it:
                authors.update(edit.authors)
                editors.update(edit.editors)
                last_editor = last_editor or edit.person_id
        found[message.pk] = Contributors(
            key_owners=frozenset(key_owners),
            authors=frozenset(authors),
            editors=frozenset(editors),
            last_editor=last_editor,
        )
    return found


def _owners_of(messages: Sequence[Message]) -> dict[tuple[int, str], set[int]]:
    """Return the owners of the programs that sent these messages, by connection and API
    key.
    """
    keys = {(one.connection_id, key) for one in messages if (key := _proven_key(one))}
    if not keys:
        return {}
    owners = KeyOwner.objects.filter(
        connection__in={connection for connection, _ in keys},
        upstream_key_id__in={key for _, key in keys},
    )
    found: dict[tuple[int, str], set[int]] = {}
    for owner in owners:
        found.setdefault((owner.connection_id, owner.upstream_key_id), set()).add(
            owner.person_id
        )
    return found


def _proven_key(message: Message) -> str:
    """Return the API key that a message was sent with; empty unless our own gateway
    reports it.
    """
    is_proven = message.direction == "outbound" and message.connection.is_our_gateway
    return message.sent_by_key if is_proven else ""


def _commanders_of(messages: Sequence[Message]) -> dict[tuple[int, str], set[int]]:
    """Return who gave the commands, by connection and the id of message or interaction.

    Either is enough. A message that names somebody else's interaction only keeps that
    person from approving it.
    """
    upstream_ids = {one.upstream_id for one in messages if one.upstream_id}
    interactions = {_interaction_of(one) for one in messages} - {""}
    commanded = CommandedMail.objects.filter(
        Q(upstream_id__in=upstream_ids) | Q(interaction_id__in=interactions),
        connection__in={one.connection_id for one in messages},
    )
    found: dict[tuple[int, str], set[int]] = {}
    rows = commanded.values_list(
        "connection_id", "interaction_id", "upstream_id", "person_id"
    )
    for connection, interaction, upstream_id, person in rows:
        for key in filter(None, (interaction, upstream_id)):
            found.setdefault((connection, key), set()).add(person)
    return found


def _interaction_of(message: Message) -> str:
    return str(message.trigger.get("discord_interaction_id") or "")[:32]
