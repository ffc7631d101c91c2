"""Who has which message on screen, stored in Redis for less than a minute. Nothing depends on it or waits for it.

Redis away means that nobody is known to read; Redis slow costs a page a fraction of a second, once in a while.
"""

import json
import logging
import os
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from typing import Any
from uuid import UUID

import redis
from django.conf import settings
from django.dispatch import Signal
from redis.backoff import NoBackoff
from redis.retry import Retry

from approvals.models import Claim
from approvals.querysets.messages import desk_messages
from common.enqueue import is_resting, send
from common.pages import DeskRequest
from common.postgres.statements import ValueQuery, count_of
from mirror.models import Message
from people.actors import Actor

log = logging.getLogger(__name__)

# A page reports every twenty seconds that it is on screen; two reports may be lost.
LASTS = 42
PATIENCE = 0.4
REST = 15.0
MOST = 1000
# Two sorted sets of the same readers: by when they are over, and in the order of their text, which begins with the
# message, so that the readers of a few messages are found however many pages are open.
_KEY, _BY_MESSAGE = "countersign:reading", "countersign:reading:by-message"
# By Redis' own clock: the hosts' may differ.
_COME = """
local now = tonumber(redis.call('TIME')[1])
for _, one in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
    redis.call('ZREM', KEYS[1], one)
    redis.call('ZREM', KEYS[2], one)
end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
"""
_LEAVE = """
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
"""
_END = """
local start = '["' .. ARGV[1]
for _, one in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], '[' .. start .. '"', '(' .. start .. '#')) do
    redis.call('ZREM', KEYS[1], one)
    redis.call('ZREM', KEYS[2], one)
end
"""
_READ = """
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. redis.call('TIME')[1], '+inf', 'LIMIT', 0, tonumber(ARGV[1]))
"""
_READ_OF = """
local now, found = tonumber(redis.call('TIME')[1]), {}
for index = 2, #ARGV do
    local start = '["' .. ARGV[index]
    -- From the quotation mark that ends the id to the character after it.
    local those = redis.call('ZRANGEBYLEX', KEYS[2], '[' .. start .. '"', '(' .. start .. '#', 'LIMIT', 0, ARGV[1])
    for _, one in ipairs(those) do
        local over = redis.call('ZSCORE', KEYS[1], one)
        if over and tonumber(over) > now then table.insert(found, one) end
    end
end
return found
"""
_rests_until = 0.0

# Sent with `reader` and `is_here`; the receiver updates open pages.
reported = Signal()


@dataclass(frozen=True)
class Reader:
    """Somebody who has a message on screen."""

    message: str
    connection: int
    mailbox: int | None
    person: str
    name: str

    def is_for(self, actor: Actor) -> bool:
        """Whether to show it to the actor: somebody else reads a message that the actor may see."""
        sees = any(scope.reaches(connection=self.connection, mailbox=self.mailbox) for scope in actor.scopes)
        return sees and self.person != actor.id


def come(message: Message, *, actor: Actor) -> None:
    """Note that the actor has this message on screen. Never waits."""
    reader = _reader(message, actor)
    send("EVAL", _COME, "2", _KEY, _BY_MESSAGE, _written(reader), str(LASTS))
    reported.send(sender=Reader, reader=reader, is_here=True)


def leave(message: Message, *, actor: Actor) -> None:
    """Note that the actor has left this message. Never waits."""
    reader = _reader(message, actor)
    send("EVAL", _LEAVE, "2", _KEY, _BY_MESSAGE, _written(reader))
    reported.send(sender=Reader, reader=reader, is_here=False)


def end(message: UUID) -> None:
    """Note that nobody reads this message any more: it is decided. Never waits; open pages know it by the decision."""
    send("EVAL", _END, "2", _KEY, _BY_MESSAGE, str(message))


def readers_by_message(actor: Actor, messages: Collection[Message] | None = None) -> dict[str, list[Reader]]:
    """Return the other readers of these messages, or of all that the actor may see, by public id."""
    found: dict[str, list[Reader]] = {}
    of = None if messages is None else [str(message.public_id) for message in messages]
    for reader in _stored(of):
        if reader.is_for(actor):
            found.setdefault(reader.message, []).append(reader)
    return found


def readers_of(message: Message, *, actor: Actor) -> list[Reader]:
    """Return who else reads this message."""
    return readers_by_message(actor, [message]).get(str(message.public_id), [])


def _reader(message: Message, actor: Actor) -> Reader:
    return Reader(str(message.public_id), message.connection_id, message.mailbox_id, actor.id, actor.label)


def _written(reader: Reader) -> str:
    return json.dumps(astuple(reader))


def _stored(messages: Sequence[str] | None) -> Iterable[Reader]:
    global _rests_until
    if is_resting() or time.monotonic() < _rests_until:
        return []
    try:
        script, of = (_READ, ()) if messages is None else (_READ_OF, messages)
        rows = _client(os.getpid()).eval(script, 2, _KEY, _BY_MESSAGE, str(MOST), *of)
    except redis.RedisError as error:
        _rests_until = time.monotonic() + REST
        log.warning("presence not known", extra={"reason": type(error).__name__})
        return []
    return filter(None, map(_read, rows or ()))


def _read(row: bytes) -> Reader | None:
    try:
        message, connection, mailbox, person, name = json.loads(row)
        return Reader(str(UUID(message)), connection, mailbox, person, name)
    except (TypeError, ValueError):
        return None


@cache
def _client(_: int) -> "redis.Redis":
    """Return this process's client. It retries once on a closed connection, never after a timeout."""
    again = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=again
    )


# No page shows more claims than this; there are about as many as people at work.
MOST_CLAIMS = 200
MOST_ASKED = 100


def presence_of(request: DeskRequest) -> dict[str, Any]:
    """Return the readers and claims of all messages that the person may see; read once a request."""
    known: dict[str, Any] | None = getattr(request, "desk_people_at", None)
    if known is None:
        readers = readers_by_message(request.actor)
        # What is assigned stays for hours and may be much; pages show it when they are loaded.
        claims = Claim.objects.live().filter(is_assigned=False).seen_by(request.actor)
        holders = claims.values_list("message__public_id", "person", "person__name")[:MOST_CLAIMS]
        known = {
            "readers": {message: [[one.person, one.name] for one in found] for message, found in readers.items()},
            "holders": {str(message): [str(person), name] for message, person, name in holders},
        }
        request.desk_people_at = known  # type: ignore[attr-defined]
    return known


def asked_of(actor: Actor) -> ValueQuery:
    """Return how to ask for the number of messages that wait with a question to this person."""
    return count_of(desk_messages().asked_of(actor), most=MOST_ASKED)
