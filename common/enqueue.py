"""Enqueues Celery tasks through Redis after commit. A lost one costs only time: rows are the truth, a sweep finds them.

A thread sends them, many at once: no request waits for Redis, whatever state that is in. Celery's own client needs
about ten times the processor time and, with Redis away, seconds a task (docs/adr/0008). Nor is Celery imported here: it
takes ten megabytes, and only workers need it. A test compares the messages with Celery's own.
"""

import atexit
import base64
import contextlib
import json
import logging
import os
import queue
import socket
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import cache, partial
from typing import Any

import redis
from django.conf import settings
from django.db import transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)

# After a failure this process leaves Redis alone for this long, instead of waiting for one time-out after the other;
# what comes meanwhile is left to the sweep.
REST_SECONDS = 5.0
TIMEOUT_SECONDS = 0.5
_AT_ONCE = 500
# More than a sweep finds at once. A worker that is behind gains nothing from being woken for the same rows again.
ENOUGH = 500
_rests_until = 0.0

Command = tuple[str | bytes, ...]
_outgoing: "queue.SimpleQueue[Command | threading.Event]" = queue.SimpleQueue()
_carrier: threading.Thread | None = None
_starting = threading.Lock()


@cache
def quick_redis() -> "redis.Redis":
    """Return this process's Redis client, for commands that may be lost and must not block."""
    # A connection from before a restart of Redis fails at once; a new one does not.
    again = {"retry": Retry(NoBackoff(), 1), "retry_on_error": [redis.ConnectionError]}
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, **again
    )


def enqueue(task: str, row_id: int | str, *, countdown: float | None = None) -> None:
    """Enqueue a task for row `row_id` once the current transaction has committed.

    The task is named, such as approvals.tasks.hydrate: what writes rows must not import what reads them.
    """
    transaction.on_commit(partial(_send_task, task, row_id, countdown), robust=True)


def has_enough_to_do(task: str) -> bool:
    """Whether a sweep should add nothing to this task's queue: so many wait there that they find the same rows."""
    if is_resting():
        return False
    try:
        return int(quick_redis().llen(_queue_of(task))) > ENOUGH
    except redis.RedisError:
        return False


def send(*command: str | bytes) -> None:
    """Send a command to Redis soon; it may be lost. Never raises, never waits."""
    _outgoing.put(command)
    _ensure_carrier()


def flush(seconds: float = 1.0) -> None:
    """Wait until everything up to now was sent or given up."""
    done = threading.Event()
    _outgoing.put(done)
    _ensure_carrier()
    done.wait(seconds)


def is_resting() -> bool:
    """Whether Redis failed a moment ago, so that it is left alone."""
    return time.monotonic() < _rests_until


def rest() -> None:
    """Note that Redis did not answer."""
    global _rests_until
    _rests_until = time.monotonic() + REST_SECONDS


def _send_task(task: str, row_id: int | str, countdown: float | None) -> None:
    send("LPUSH", _queue_of(task), _message(task, row_id, countdown))


@cache
def _queue_of(task: str) -> str:
    routes = settings.CELERY_TASK_ROUTES.items()
    return str(next(route["queue"] for pattern, route in routes if fnmatchcase(task, pattern)))


# What each message of Celery's has in its headers, and behind the arguments in its body (its protocol, version 2).
_HEADERS: dict[str, Any] = {
    "lang": "py",
    "kwargsrepr": "{}",
    "timelimit": [None, None],
    "ignore_result": True,
    "stamps": {},
    **dict.fromkeys(("shadow", "expires", "group", "group_index", "parent_id", "stamped_headers")),
    **dict.fromkeys(("retries", "replaced_task_nesting"), 0),
}
_BEHIND: tuple[dict[str, Any], ...] = ({}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})


def _message(task: str, row_id: int | str, countdown: float | None) -> bytes:
    """Return the message that Celery's own client would put into Redis."""
    task_id = str(uuid.uuid4())
    eta = (datetime.now(UTC) + timedelta(seconds=countdown)).isoformat() if countdown else None
    origin = f"gen{os.getpid()}@{socket.gethostname()}"
    ids = {"id": task_id, "root_id": task_id, "argsrepr": repr((row_id,)), "eta": eta, "origin": origin}
    properties = {
        "correlation_id": task_id,
        "reply_to": "",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": _queue_of(task)},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": str(uuid.uuid4()),
    }
    envelope = {
        "body": base64.b64encode(json.dumps([(row_id,), *_BEHIND]).encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": task, **_HEADERS, **ids},
        "properties": properties,
    }
    return json.dumps(envelope).encode()


def _ensure_carrier() -> None:
    global _carrier
    if _carrier is None or not _carrier.is_alive():
        with _starting:
            if _carrier is None or not _carrier.is_alive():
                _carrier = threading.Thread(target=_carry, daemon=True, name="wake-ups")
                _carrier.start()


def _carry() -> None:
    while True:
        items = [_outgoing.get()]
        with contextlib.suppress(queue.Empty):
            while len(items) < _AT_ONCE:
                items.append(_outgoing.get_nowait())
        commands = [one for one in items if isinstance(one, tuple)]
        if commands and not is_resting():
            _deliver(commands)
        for one in items:
            if isinstance(one, threading.Event):
                one.set()


def _deliver(commands: list[Command]) -> None:
    try:
        pipeline: Any = quick_redis().pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        pipeline.execute()
    except Exception as error:  # noqa: BLE001 - the client raises of many kinds; none may end the thread
        rest()
        log.warning("Redis not reached", extra={"lost": len(commands), "reason": type(error).__name__})


def _forget_carrier() -> None:
    # A forked child does not have its parent's threads, and must not send its parent's commands.
    global _carrier, _outgoing, _starting
    _carrier, _outgoing, _starting = None, queue.SimpleQueue(), threading.Lock()
    quick_redis.cache_clear()


def _leave() -> None:
    # A management command that ends now still sends what it enqueued.
    if _carrier is not None and _carrier.is_alive():
        flush()


os.register_at_fork(after_in_child=_forget_carrier)
atexit.register(_leave)
