"""What the HTTP server refuses before any application sees it: whatever a proxy in
front may read as another request, and headers without end.
"""

import asyncio

import pytest
import uvicorn
from uvicorn.server import ServerState

from common import http_server
from common.http_server import Connection
from tests.loops import in_own_loop

HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n"


def post(*headers, body=b"abc"):
    return b"POST / HTTP/1.1\r\n" + HOST + b"\r\n".join(headers) + b"\r\n\r\n" + body


CLEAR = {
    "no body": GET + HOST + b"\r\n",
    "body": post(b"Content-Length: 3"),
    "chunks": CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\r\n",
    "empty line before": b"\r\n" + GET + HOST + b"\r\n",
}
UNCLEAR = {
    "request line with LF": b"GET / HTTP/1.1\n" + HOST + b"\r\n",
    "request line without version": b"GET /\n" + HOST + b"\r\n",
    "header with LF": GET + b"Host: a\n\r\n",
    "end with LF": GET + HOST + b"\n",
    "LF before": b"\n" + GET + HOST + b"\r\n",
    "CR in a value": GET + HOST + b"X: a\rb\r\n\r\n",
    "NUL in a value": GET + HOST + b"X: a\0b\r\n\r\n",
    "folded header": GET + HOST + b"X: a\r\n b\r\n\r\n",
    "space before a colon": GET + HOST + b"X : a\r\n\r\n",
    "length twice": post(b"Content-Length: 3", b"Content-Length: 3"),
    "two lengths": post(b"Content-Length: 3", b"Content-Length: 2"),
    "list of lengths": post(b"Content-Length: 3, 3"),
    "signed length": post(b"Content-Length: +3"),
    "length and chunks": CHUNKED + b"Content-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "coding twice": CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunks in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"\r\n0\r\n\r\n",
    "chunk size with LF": CHUNKED + b"\r\n3\nabc\r\n0\r\n\r\n",
    "chunk with LF": CHUNKED + b"\r\n3\r\nabc\n0\r\n\r\n",
    "last chunk with LF": CHUNKED + b"\r\n3\r\nabc\r\n0\n\r\n",
    "end of chunks with LF": CHUNKED + b"\r\n3\r\nabc\r\n0\r\n\n",
    "LF in an extension": CHUNKED + b"\r\n3;a\nb\r\nabc\r\n0\r\n\r\n",
    "trailer with LF": CHUNKED + b"\r\n3\r\nabc\r\n0\r\nX: y\n\r\n",
    "size that is no number": CHUNKED + b"\r\n0x3\r\nabc\r\n0\r\n\r\n",
    "two hosts": GET + HOST + b"Host: b\r\n\r\n",
    "no host": GET + b"\r\n",
    "other version": b"GET / HTTP/2.0\r\n" + HOST + b"\r\n",
    "101 headers": GET + HOST + b"X: a\r\n" * 100 + b"\r\n",
    "headers of 64 KiB": GET + HOST + b"X: " + b"a" * 65_536 + b"\r\n\r\n",
    "headers without end": GET + HOST + b"X: " + b"a" * 70_000,
}


async def application(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": scope["method"].encode()})


async def answers(*requests):
    """Return all that the server answers to each, until it closes the connection or has
    answered whole.
    """
    config = uvicorn.Config(application, http=Connection, ws="none", log_config=None)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(config, state, {}), "127.0.0.1", 0
    )
    received = []
    async with server:
        for request in requests:
            reader, writer = await asyncio.open_connection(
                *server.sockets[0].getsockname()
            )
            writer.write(request)
            answer = b""
            while not answer.endswith((b"0\r\n\r\n", b"}")):
                piece = await reader.read(65_536)
                if not piece:
                    break
                answer += piece
            received.append(answer)
            writer.close()
    return received


def test_request_that_two_servers_could_read_differently_is_refused():
    cases = {**CLEAR, **UNCLEAR}
    received = dict(zip(cases, in_own_loop(answers(*cases.values())), strict=True))
    wrong = {
        name: answer
        for name, answer in received.items()
        if answer[9:12] != (b"200" if name in CLEAR else b"400")
        or answer.count(b"HTTP/1.1 ") != 1
    }
    assert not wrong
    assert received["two hosts"].endswith(b'"code": "bad_request"}')


@pytest.mark.slow
def test_refusal_does_not_come_within_an_answer_and_idle_clients_are_ended(monkeypatch):
    monkeypatch.setattr(http_server, "HEADER_SECONDS", 0.2)
    bad = UNCLEAR["header with LF"]
    pipelined, late = in_own_loop(answers(CLEAR["no body"] + bad, GET))
    assert pipelined.count(b"HTTP/1.1 ") == 1
    assert late == b""
