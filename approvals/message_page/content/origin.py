"""Where a message came from: what its sender says of that, in short names, and other
mail by the same trigger.

A sender's claim counts as verified only where the desk saw it signed. The count is
bounded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from approvals.models import CommandedMail
from approvals.queue.filters import Filters
from approvals.queue.querysets import queue_messages
from common.actors import Actor
from mirror.models import Message

COUNTED = 100
# Discord's ids are numbers of this length; a link is built of nothing else.
_ID = re.compile(r"[0-9]{17,20}")
_REASONS = ("reason", "stated_reason", "purpose", "intent", "why")
MAX_STATED_REASON = 2000


@dataclass(frozen=True)
class Origin:
    """What is said of who started it. `others` wait from the same trigger; `query` is
    the queue that lists them.
    """

    address: str
    reason: str
    others: int
    query: str
    # Discord signed the command that made it, at this desk.
    is_verified: bool

    @property
    def shown(self) -> str:
        """How many others, as people see it."""
        return f"{COUNTED}+" if self.others > COUNTED else str(self.others)


def origin_of(message: Message, *, actor: Actor) -> Origin:
    """Return where a message says that it came from, and how many others wait from
    there.
    """
    others = 0
    query = ""
    if message.started_by:
        started = Filters(started=message.started_by, group="none")
        query = started.query()
        waiting = queue_messages().visible_to(actor).in_queue().matching(started)
        others = waiting.exclude(pk=message.pk).values("pk")[: COUNTED + 1].count()
    return Origin(
        address=discord_address(message.trigger),
        reason=stated_reason(message.trigger),
        others=others,
        query=query,
        is_verified=is_verified(message),
    )


def is_verified(message: Message) -> bool:
    """Whether the interaction that the sender names is a signed command that made this
    message.
    """
    named = str(message.trigger.get("discord_interaction_id") or "")
    if not named:
        return False
    made = CommandedMail.objects.filter(
        connection=message.connection_id, upstream_id=message.upstream_id
    )
    return made.filter(interaction_id=named).exists()


def discord_address(trigger: Mapping[str, Any]) -> str:
    """Return the address of the Discord channel or message that is named by its ids;
    empty where one is missing.
    """
    guild = _id(trigger, "discord_guild_id", "discord_guild")
    channel = _id(trigger, "discord_channel_id", "discord_channel")
    if not guild or not channel:
        return ""
    message = _id(trigger, "discord_message_id")
    return f"https://discord.com/channels/{guild}/{channel}{f'/{message}' if message else ''}"


def stated_reason(trigger: Mapping[str, Any]) -> str:
    """Return why the agent says that it writes; empty where it says nothing."""
    found = (trigger.get(name) for name in _REASONS)
    return next(
        (
            one.strip()[:MAX_STATED_REASON]
            for one in found
            if isinstance(one, str) and one.strip()
        ),
        "",
    )


def _id(trigger: Mapping[str, Any], *names: str) -> str:
    found = (str(trigger.get(name) or "") for name in names)
    return next((one for one in found if _ID.fullmatch(one)), "")
