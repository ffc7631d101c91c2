"""Where a message came from: what its sender says of that, in short names, and other mail by the same trigger.

A sender's claim counts as verified only where the desk saw it signed. The count is bounded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from approvals.models import CommandedMail
from approvals.queue.filters import Filters
from approvals.queue.querysets import queue_messages
from common.actors import Actor
from common.postgres.statements import ANY, NAMED_LATER, ValueQuery, any_of, count_of
from mirror.models import Message
from mirror.models.messages import anybody_like

COUNTED = 100
# Discord's ids are numbers of this length; a link is built of nothing else.
_ID = re.compile(r"[0-9]{17,20}")
_REASONS = ("reason", "stated_reason", "purpose", "intent", "why")
MAX_STATED_REASON = 2000


@dataclass(frozen=True)
class Origin:
    """What is said of who started it. `others` wait from the same trigger; `query` is the queue that lists them."""

    address: str = ""
    reason: str = ""
    others: int = 0
    query: str = ""
    # Discord signed the command that made it, at this desk.
    is_verified: bool = False

    @property
    def shown(self) -> str:
        """How many others, as people see it."""
        return f"{COUNTED}+" if self.others > COUNTED else str(self.others)


def origin_of(message: Message, *, others: int, is_verified: bool) -> Origin:
    """Return where a message says that it came from; `others` wait from the same trigger."""
    query = _started(message.started_by).query() if message.started_by else ""
    return Origin(discord_address(message.trigger), stated_reason(message.trigger), others, query, is_verified)


def others_part(message: Message, *, actor: Actor) -> ValueQuery:
    """Return how to ask for the number of other messages that wait from the same trigger."""
    if not message.started_by:
        return ValueQuery("0")
    return _others_part(anybody_like(actor)).with_values({NAMED_LATER: message.started_by, ANY: message.pk})


@lru_cache(maxsize=256)
def _others_part(actor: Actor) -> ValueQuery:
    waiting = queue_messages().visible_to(actor).in_queue().matching(_started(NAMED_LATER))
    return count_of(waiting.exclude(pk=ANY), most=COUNTED + 1)


def _started(trigger: str) -> Filters:
    return Filters(started=trigger, group="none")


def verified_part(message: Message) -> ValueQuery:
    """Return how to ask whether the interaction that the sender names is a signed command that made this message."""
    named = str(message.trigger.get("discord_interaction_id") or "")
    made = CommandedMail.objects.filter(connection=message.connection_id, upstream_id=message.upstream_id)
    return any_of(made.filter(interaction_id=named)) if named else ValueQuery("false")


def discord_address(trigger: Mapping[str, Any]) -> str:
    """Return the address of the Discord channel or message that is named by its ids; empty where one is missing."""
    guild = _id(trigger, "discord_guild_id", "discord_guild")
    channel = _id(trigger, "discord_channel_id", "discord_channel")
    if not guild or not channel:
        return ""
    message = _id(trigger, "discord_message_id")
    return f"https://discord.com/channels/{guild}/{channel}{f'/{message}' if message else ''}"


def stated_reason(trigger: Mapping[str, Any]) -> str:
    """Return why the agent says that it writes; empty where it says nothing."""
    found = (trigger.get(name) for name in _REASONS)
    return next((one.strip()[:MAX_STATED_REASON] for one in found if isinstance(one, str) and one.strip()), "")


def _id(trigger: Mapping[str, Any], *names: str) -> str:
    found = (str(trigger.get(name) or "") for name in names)
    return next((one for one in found if _ID.fullmatch(one)), "")
