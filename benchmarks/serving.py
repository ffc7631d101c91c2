"""What benchmarks share: a web process as the product runs it, and pgbench on the same PostgreSQL."""

import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
from psycopg.conninfo import make_conninfo

from benchmarks.load import requests_a_second
from benchmarks.result import sized
from launcher.postgres import postgres_programs

CLIENTS = 8
# The control of what is served, see `benchmarks.bare`.
BARE = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

# Names a database in which all migrations have run and which is otherwise empty, where somebody has one.
_TEMPLATE = "BENCH_TEMPLATE"


def prepare() -> None:
    """Bring the database to this version, and Django into this process; a copy of a prepared one is there already."""
    if _TEMPLATE not in os.environ:
        subprocess.run([sys.executable, "manage.py", "prepare"], check=True, env={**os.environ, "DEMO": "0"})
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    django.setup()
    logging.disable(logging.INFO)


@contextlib.contextmanager
def own_database() -> Iterator[None]:
    """Give the block an empty database and an empty part of Redis, on the servers that are there; both end with it.

    Must come before `prepare`: what a benchmark writes into a ledger could not be taken out again.
    """
    outer = {name: os.environ[name] for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")}
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
    """Run the web process of one product, or with the same server another application, and give its port."""
    from launcher.processes import http

    port = free_port()
    process = http("bench", port=port, serve=serve, path="/")
    command = [*process.command[:-1], application or process.command[-1]]
    environment = {**os.environ, **process.environment, "GATEWAY_RATE_LIMIT": "0"}
    server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait(30)


@contextlib.contextmanager
def worker(queues: str, *, threads: int, beat: str = "") -> Iterator[None]:
    """Run a worker of the desk as the product does, with the beat of a product or without one."""
    from launcher.processes import worker

    process = worker("bench", queues=queues, beat=beat, threads=threads)
    environment = {**os.environ, **process.environment}
    silent = subprocess.DEVNULL
    running = subprocess.Popen(process.command, env=environment, stdout=silent, stderr=silent)
    try:
        yield
    finally:
        running.terminate()
        running.wait(30)


def bare_view() -> contextlib.AbstractContextManager[int]:
    """Run the web process of a plain Django view, which shows the first account, and give its port."""
    return web_process("dashboard", application="benchmarks.bare:application")


def within_reach(most: int, *, share: float) -> int:
    """Return a load for this machine: `most`, or a share of the requests a second of a plain Django view, if less.

    The database must be prepared. The load is printed, as figures of two loads cannot be compared.
    """
    with bare_view() as port:
        requests_a_second(port, clients=CLIENTS, seconds=1, request=lambda: BARE, expect=b"200")
        reached = requests_a_second(
            port, clients=CLIENTS, seconds=sized(3, smoke=1), request=lambda: BARE, expect=b"200"
        )
    return max(1, min(most, round(reached * share)))


def pgbench(script: str, *, seconds: int, protocol: str) -> float:
    """Return the transactions a second that pgbench reaches with `script`, as the application's role."""
    file = Path(os.environ["DATA_DIR"]) / "bench.sql"
    file.write_text(script)
    command = [str(postgres_programs() / "pgbench"), "-n", "-M", protocol, "-c", str(CLIENTS), "-j", "2"]
    command += ["-T", str(seconds), "-f", str(file), "-d", os.environ["DATABASE_URL"]]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode or "failed transactions: 0 " not in process.stdout:
        raise RuntimeError(f"pgbench failed: {process.stderr or process.stdout}")
    return float(next(line for line in process.stdout.splitlines() if line.startswith("tps")).split()[2])


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
