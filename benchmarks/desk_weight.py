"""How many bytes does a browser fetch for its first visit to the queue, with fifty messages on the page?"""

import gzip
import http.client
import os
import re
from typing import Any

from benchmarks.result import Figure, Need, Result
from benchmarks.serving import own_database, prepare, web_process

WAITING = 60
MOST_KB = 60.0
# A visit with everything in the browser's cache fetches the page alone.
AGAIN = 0.5
LOADS = re.compile(r"""<(?:script|link|img|use)\b[^>]*?(?:src|href)=["']?(/[^"'\s>#]+)""")
# Inert: what stands in it is fetched when it is used, here with the first message that is opened.
LATER = re.compile(r"<template\b.*?</template>", re.DOTALL)
# As a browser asks that can do both, and as one that is opening an address which a person typed.
HEADERS = {"Accept-Encoding": "gzip, deflate, br", "Sec-Fetch-Site": "none", "Accept": "text/html"}


def measure() -> Result:
    """Serve the queue as the product does, fetch it and everything it names, and add up what came over the wire."""
    with own_database():
        os.environ["DEMO"] = "0"
        prepare()
        cookie = make_queue()
        with web_process("dashboard") as port:
            page, sent = fetch(port, "/queue/", cookie)
            files = {path: len(fetch(port, path, cookie)[1]) for path in named_in(LATER.sub("", page))}
            first_opened = sum(len(fetch(port, path, cookie)[1]) for path in named_in(page) - files.keys())
            if page.count('class="item') < 50:
                raise RuntimeError("the queue shows no whole page")
    whole = (len(sent) + sum(files.values())) / 1024
    kinds = {end: sum(n for path, n in files.items() if path.endswith(end)) / 1024 for end in ("css", "js", "svg")}
    return Result(
        question=__doc__ or "",
        figures=(
            Figure("the page itself", len(sent) / 1024, "KB"),
            *(Figure(f"files: {end}", size, "KB") for end, size in kinds.items()),
            Figure("files", len(files), "requests"),
            Figure("the first visit", whole, "KB"),
            Figure("files that the first opened message adds", first_opened / 1024, "KB"),
        ),
        control=Figure("the same, not compressed", (len(page.encode()) + plain_size(files)) / 1024, "KB"),
        ratio=len(sent) / 1024 / whole,
        goal=AGAIN,
        runs=1,
        at_most=True,
        needs=(Need("KB of the first visit", whole, MOST_KB, at_most=True),),
    )


def make_queue() -> str:
    """Let messages wait for somebody who is signed in; return the cookie."""
    from django.conf import settings

    from benchmarks.desk_queue import make_desk
    from benchmarks.queue_rows import fill

    client, connection, mailboxes = make_desk()
    fill(connection, mailboxes, first=1, last=WAITING)
    name = settings.SESSION_COOKIE_NAME
    return f"{name}={client.cookies[name].value}"


def fetch(port: int, path: str, cookie: str) -> tuple[str, bytes]:
    """Return what was asked for as text, and the bytes that came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={**HEADERS, "Cookie": cookie})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path} answers {answer.status}")
    encoding = answer.getheader("Content-Encoding", "")
    return unpacked(body, encoding).decode(errors="replace"), body


def unpacked(body: bytes, encoding: str) -> bytes:
    """Return the content of an answer."""
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding:
        raise RuntimeError(f"this benchmark cannot read {encoding}")
    return body


def named_in(page: str) -> set[str]:
    """Return the addresses of everything a browser fetches for this page."""
    return set(LOADS.findall(page)) - {"/queue/"}


def plain_size(files: dict[str, Any]) -> int:
    """Return how large these files are as they lie in the folder that is served."""
    from django.conf import settings

    return sum((settings.STATIC_ROOT / path.removeprefix("/static/")).stat().st_size for path in files)
