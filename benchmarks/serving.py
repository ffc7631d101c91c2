"""What benchmarks share: a database of their own, processes as the product runs them,
and a plain Django view.
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

CLIENTS = 8
# The control of what is served, see `benchmarks.bare`.
BARE = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

# Names a database in which all migrations have run and which is otherwise empty, where
# somebody has one.
_TEMPLATE = "BENCH_TEMPLATE"


def prepare() -> None:
    """Bring the database to this version, and Django into this process; a copy of a
    prepared one is there already.
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
    """Give the block an empty database and an empty part of Redis, on the servers that
    are there; both end with it.

    Must come before `prepare`: what a benchmark writes into a ledger could not be taken
    out again.
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
    """Return the address of another of the numbered databases of a Redis."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"{url.partition('?')[0]}?db=15"
    return urlunsplit(parts._replace(path="/15"))


@contextlib.contextmanager
def web_process(serve: str, *, application: str = "") -> Iterator[int]:
    """Run the web process of one product, or with the same server another application,
    and give its port.
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
    """Run a worker of the desk as the product does, with the beat of a product or
    without one.
    """
    from launcher.processes import worker

    process = worker("bench", queues=queues, beat=beat, threads=threads)
    with running(process.command, process.environment):
        yield


@contextlib.contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[None]:
    """Run a process for as long as the block takes."""
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
    """Run the web process of a plain Django view, which shows the first account, and
    give its port.
    """
    return web_process("dashboard", application="benchmarks.bare:application")


def within_reach(most: int, *, share: float) -> int:
    """Return a load for this machine: `most`, or a share of the requests a second of a
    plain Django view, if less.

    The database must be prepared. The load is printed, as figures of two loads cannot
    be compared.
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
    """Return when the server answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the web process did not start")
