"""The servers that benchmarks use: a separate database, web processes and workers
started as the product starts them, and the plain Django view to compare with.
"""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from psycopg.conninfo import make_conninfo

from benchmarks.load import requests_a_second
from benchmarks.result import sized
from launcher.environment import pick_free_ports

# Requests under way at a time.
CLIENTS = 8
# A request for the plain Django view in `benchmarks.bare`.
BARE = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

# The variable that may name an empty database in which all migrations have run.
_TEMPLATE = "BENCH_TEMPLATE"


def prepare() -> None:
    """Run all migrations, unless the database is a copy of a prepared one, and set up
    Django in this process.
    """
    if _TEMPLATE not in os.environ:
        subprocess.run(
            [sys.executable, "manage.py", "prepare"],
            check=True,
            env={**os.environ, "DEMO": "0"},
        )
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    django.setup()
    logging.disable(logging.INFO)


@contextlib.contextmanager
def own_database() -> Iterator[None]:
    """Let the block use a new database and Redis database of the running servers, and
    remove them at its end.

    Must come before `prepare`. Otherwise the benchmark would write into the real
    ledger, from which nothing can be removed.
    """
    outer = {
        name: os.environ[name]
        for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")
    }
    name = "countersign_bench"
    template = os.environ.get(_TEMPLATE, "template1")
    with psycopg.connect(outer["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")  # type: ignore[arg-type]
        owner.execute(f"CREATE DATABASE {name} TEMPLATE {template}")  # type: ignore[arg-type]
    for variable in ("DATABASE_URL", "DATABASE_OWNER_URL"):
        os.environ[variable] = make_conninfo(outer[variable], dbname=name)
    os.environ["REDIS_URL"] = redis_part(outer["REDIS_URL"])
    try:
        yield
    finally:
        redis.Redis.from_url(os.environ["REDIS_URL"]).flushdb()
        os.environ.update(outer)
        with psycopg.connect(outer["DATABASE_OWNER_URL"], autocommit=True) as owner:
            owner.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")  # type: ignore[arg-type]


def redis_part(url: str) -> str:
    """Return the address of the last of the 16 databases of a Redis server."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"{url.partition('?')[0]}?db=15"
    return urlunsplit(parts._replace(path="/15"))


@contextlib.contextmanager
def web_process(serve: str, *, application: str = "") -> Iterator[int]:
    """Run the web process of `serve` ("dashboard" or "gateway"), or another application
    in the same server, and yield its port.
    """
    from launcher.processes import http

    (port,) = pick_free_ports(1)
    process = http("bench", port=port, serve=serve, path="/")
    command = [*process.command[:-1], application or process.command[-1]]
    with running(command, {**process.environment, "GATEWAY_RATE_LIMIT": "0"}):
        wait_for(port)
        yield port


@contextlib.contextmanager
def worker(queues: str, *, threads: int, beat: str = "") -> Iterator[None]:
    """Run a worker as the product does. `beat` names the product whose periodic tasks
    it schedules; empty for none.
    """
    from launcher.processes import WORKER

    command = [*WORKER, "bench", queues, str(threads)]
    environment = {"SERVE": "dashboard", "CELERY_SKIP_CHECKS": "1"}
    with running(command, environment | ({"BEAT": beat} if beat else {})):
        yield


@contextlib.contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[None]:
    """Run a process until the block ends."""
    silent = subprocess.DEVNULL
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=silent, stderr=silent
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def bare_view() -> contextlib.AbstractContextManager[int]:
    """Run the plain Django view in a web process, and yield its port."""
    return web_process("dashboard", application="benchmarks.bare:application")


def within_reach(most: int, *, share: float) -> int:
    """Return a rate for this machine: `most` a second, or `share` of the requests a
    second that a plain Django view reaches, if that is less.

    The database must be prepared. A benchmark prints its rate, because figures at
    different rates cannot be compared.
    """
    with bare_view() as port:
        for seconds in (1, sized(3, smoke=1)):
            reached = requests_a_second(
                port,
                clients=CLIENTS,
                seconds=seconds,
                request=lambda: BARE,
                expect=b"200",
            )
    return max(1, min(most, round(reached * share)))


def wait_for(port: int) -> None:
    """Wait until the server accepts connections."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the web process did not start")
