"""Redis is gone, full, read-only or outdated: it only wakes workers, so nothing is lost
or doubled.
"""

import contextlib
import os
import shutil
import signal
from pathlib import Path

import pytest
from redis import RedisError

from tests.faults.sender import Sender, assert_stored_once, event

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]


@pytest.fixture(autouse=True)
def _wait_for_no_dead_worker(desk):
    """A worker stops when Redis refuses writes, and its tasks are redelivered only
    after some minutes.
    """
    yield
    desk.give_up_unacked()


@contextlib.contextmanager
def hanging(desk):
    desk.stack.kill("redis", signal.SIGSTOP)
    try:
        yield
    finally:
        desk.stack.kill("redis", signal.SIGCONT)


@contextlib.contextmanager
def gone(desk):
    """Make its address unreachable, and cut open connections."""
    socket = Path(desk.stack.data / "sockets" / "redis.sock")
    desk.redis.ping()
    away = socket.rename(socket.with_name("away.sock"))
    try:
        for kind in ("normal", "pubsub"):
            desk.redis.client_kill_filter(_type=kind, skipme=True)
        yield
    finally:
        away.rename(socket)


@contextlib.contextmanager
def read_only(desk):
    desk.redis.replicaof("127.0.0.1", 1)
    try:
        yield
    finally:
        desk.redis.replicaof("NO", "ONE")


@contextlib.contextmanager
def out_of_memory(desk):
    desk.redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        desk.redis.config_set("maxmemory", 0)


def test_redis_away_costs_neither_webhook_nor_decision(desk):
    for way in (gone, hanging, read_only, out_of_memory):
        sender = Sender.of(desk)
        held = desk.hold()
        bodies = [event() for _ in range(3)]
        page = desk.ana.get(f"/queue/{held.id}/")
        with way(desk):
            for body in bodies:
                assert sender.post(body).status_code == 200, way.__name__
            fields = {
                "outcome": "approve",
                "fingerprint": held.fingerprint,
                "reason": "",
            }
            assert (
                desk.ana.post(f"/queue/{held.id}/verdict/", page, **fields).status_code
                == 302
            ), way.__name__
            assert desk.decision(held)["outcome"] == "approve"
            upstream_id, subject = desk.send()
        assert_stored_once(desk, bodies)
        # Only the worker itself sweeps here.
        desk.wait_for_decision(held, "applied")
        assert desk.shown(upstream_id, subject).fingerprint
        desk.give_up_unacked()


def test_redis_restored_from_an_older_copy_doubles_nothing(desk):
    messages = [desk.hold() for _ in range(3)]
    desk.redis.config_set("appendfsync", "always")
    data = desk.stack.data / "redis"
    launcher = desk.stack.launcher.pid
    desk.stack.kill("worker-desk", signal.SIGSTOP)
    try:
        # One message of each is delivered to the worker that cannot run it; the others
        # stay in the queue.
        desk.sweep(), desk.sweep()
        assert [desk.decide(held) for held in messages] == [302] * 3
        desk.wait(
            lambda: desk.redis.llen("decisions") >= 3, "the wake-ups to wait in Redis"
        )
        copy = shutil.copytree(data, data.with_name("redis.copy"))
    finally:
        desk.stack.kill("worker-desk", signal.SIGCONT)
    for held in messages:
        desk.wait_for_decision(held, "applied")
    # The launcher must not restart it before the old data is back.
    os.kill(launcher, signal.SIGSTOP)
    try:
        desk.stack.kill("redis")
        desk.wait(lambda: not _lives(desk.stack.pids()["redis"]), "Redis to end")
        shutil.rmtree(data)
        copy.rename(data)
    finally:
        os.kill(launcher, signal.SIGCONT)
    ended = [desk.decision(held)["changed_at"] for held in messages]
    desk.wait(lambda: wake_ups(desk) == 0, "the old wake-ups to be taken")
    desk.give_up_unacked()
    desk.wait_for_idle()
    assert [desk.calls(held) for held in messages] == [1] * 3
    assert [desk.decision(held)["changed_at"] for held in messages] == ended


def wake_ups(desk):
    """Return the number of queued wake-ups for decisions; None while Redis is
    unavailable.
    """
    try:
        return desk.redis.llen("decisions")
    except RedisError:
        return None


def _lives(pid):
    try:
        return (
            "Z"
            not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        )
    except OSError:
        return False
