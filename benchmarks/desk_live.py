"""How long after a webhook was accepted do 500 open streams, or fewer, know that there is "1 new"?"""

import asyncio
import http.client
import math
import os
import socket
import statistics
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.result import Figure, Need, Result, sized
from benchmarks.serving import free_port, own_database, prepare, wait_for, web_process, within_reach

MOST_STREAMS, EVENTS, FEW = sized(500, smoke=5), sized(30, smoke=2), 1
# Streams, of the requests a second of a plain Django view: so many fewer pages are open on a slower machine.
SHARE = 1.0
ALLOWED_MS = 500.0
PATIENCE = 30.0


def measure() -> Result:
    """Open the streams of signed-in pages, post webhooks one after the other, and time each hint on each stream."""
    with own_database():
        os.environ["DEMO"] = "0"
        prepare()
        webhook_id, cookie = make_desk()
        streams = within_reach(MOST_STREAMS, share=SHARE)
        with web_process("dashboard") as web, live_process(web) as live:
            one = asyncio.run(delays(web, live, webhook_id, cookie, streams=FEW))
            many = asyncio.run(delays(web, live, webhook_id, cookie, streams=streams))
    slow, alone = percentile(many, 0.99), percentile(one, 0.99)
    return Result(
        question=__doc__ or "",
        figures=(
            Figure(f"p99 on {streams} streams", slow, "ms"),
            Figure(f"median on {streams} streams", statistics.median(many), "ms"),
            Figure("hints that were timed", len(many), ""),
            Figure("p99 on one stream", alone, "ms"),
        ),
        control=Figure("what is allowed", ALLOWED_MS, "ms"),
        ratio=slow / ALLOWED_MS,
        goal=1.0,
        runs=EVENTS,
        at_most=True,
        needs=(Need("hints that did not come", streams * EVENTS - len(many), 0, at_most=True),),
    )


def make_desk() -> tuple[str, str]:
    """Make a connection that takes webhooks in, and somebody who is signed in; return its id and the cookie."""
    from django.conf import settings
    from django.test import Client

    from benchmarks.ingest import make_connection
    from people.models import Grant, Person

    webhook_id = make_connection()
    person = Person.objects.create_user(email="bench@yourteam.example", name="Bench", password=uuid.uuid4().hex)
    Grant.objects.create(person=person, role="reviewer")
    client = Client()
    client.force_login(person, backend="people.sign_in.backend.PersonBackend")
    name = settings.SESSION_COOKIE_NAME
    return webhook_id, f"{name}={client.cookies[name].value}"


@contextmanager
def live_process(web: int) -> Iterator[int]:
    """Run the process of the streams, which asks this web process who may see what; give its port."""
    from launcher.processes import live

    port = free_port()
    # All streams of the benchmark are one person's.
    most = {"LIVE_STREAMS_PER_PERSON": str(MOST_STREAMS + FEW)}
    environment = {**os.environ, "PORT": str(web), "LIVE_PORT": str(port), **most}
    server = subprocess.Popen(live(port).command, env=environment)
    try:
        wait_for(port)
        yield port
    finally:
        server.terminate()
        server.wait(20)


async def delays(web: int, live: int, webhook_id: str, cookie: str, *, streams: int) -> list[float]:
    """Return for each event and stream how many milliseconds after the webhook's answer the hint was there."""
    opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    for start in range(0, streams, 50):
        opened += await asyncio.gather(*(open_stream(live, cookie) for _ in range(start, min(start + 50, streams))))
    found: list[float] = []
    for _ in range(EVENTS):
        waiting = [asyncio.ensure_future(next_hint(reader)) for reader, _ in opened]
        accepted = await asyncio.to_thread(post, web, webhook_id)
        done, late = await asyncio.wait(waiting, timeout=PATIENCE)
        found += [max(0.0, (one.result() - accepted) * 1000) for one in done]
        for one in late:
            one.cancel()
    for _, writer in opened:
        writer.close()
    return found


async def open_stream(port: int, cookie: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream as a page does, and return once its heart has beaten."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /live/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise RuntimeError(f"the stream answers {head.splitlines()[0].decode()}")
    await asyncio.wait_for(reader.readuntil(b"event: beat"), PATIENCE)
    return reader, writer


async def next_hint(reader: asyncio.StreamReader) -> float:
    """Return when the next hint of something new was here."""
    while True:
        line = await reader.readuntil(b"\n")
        if line.startswith(b"data: {") and b'"kind": "new"' in line:
            return time.perf_counter()


def post(port: int, webhook_id: str) -> float:
    """Post a webhook of a message that nobody knows yet; return when it was accepted."""
    from benchmarks.ingest import SECRET, event
    from upstream.signatures import HEADER, sign

    body = event()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    headers = {HEADER: sign(body, SECRET), "Content-Type": "application/json"}
    connection.request("POST", f"/webhooks/multimail/{webhook_id}/", body, headers)
    answer = connection.getresponse()
    accepted = time.perf_counter()
    if answer.status != 200:
        raise RuntimeError(f"the webhook answers {answer.status}")
    connection.close()
    return accepted


def percentile(values: list[float], part: float) -> float:
    """Return the value that this part of them does not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]
