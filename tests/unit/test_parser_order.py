"""Which of the requests that wait at the parser is run next, and which is turned away."""

import socket
import time

import pytest

from parsing.program import KILLED, Parser, Request


class Recorder(Parser):
    """A parser that notes what it would run, in processes that do not end."""

    def __init__(self, *running):
        super().__init__(None, None, 0, {})
        self.started = []
        self._running = dict(enumerate(running))

    def _start(self, request):
        self.started.append(request.name)


@pytest.fixture
def wait():
    """Return a function that makes requests, and reads what their clients were told."""
    clients = {}

    def request(name, *sources, **fields):
        clients[name], connection = socket.socketpair(socket.AF_UNIX)
        clients[name].setblocking(False)
        given = {"is_for_page": False, "is_slow": False, "is_hurried": False, **fields}
        return Request(connection, name=name, size=0, sources=list(sources), **given)

    request.clients = clients
    yield request
    for client in clients.values():
        client.close()


class Process:
    def __init__(self, request):
        self.request = request


def used(**seconds):
    """What sources used until now."""
    return {source: (number, time.monotonic()) for source, number in seconds.items()}


def choose(parser, *requests):
    parser._waiting = list(requests)
    parser._start_next()
    return parser.started


def test_source_that_had_a_kill_comes_after_everybody_and_what_takes_long_last(wait):
    running = Process(wait("running", "x"))
    for expected in ("new", "busy", "killed", "slow"):
        parser = Recorder(running)
        parser._used = used(busy=9.0, killed=KILLED)
        requests = [
            wait("slow", "new", is_slow=True),
            wait("killed", "killed"),
            wait("busy", "busy"),
            wait("new", "new"),
        ]
        position = [one.name for one in requests].index(expected)
        assert choose(parser, *requests[: position + 1]) == [expected]


def test_one_slow_request_runs_one_waits_and_the_client_of_a_third_is_told(wait):
    running = Process(wait("running", "a", is_slow=True))
    parser = Recorder(running)
    parser._used = used(a=5.0)
    slow = [wait(name, name, is_slow=True) for name in "ab"]
    page = wait("page", "a", is_slow=True, is_for_page=True)
    assert choose(parser, *slow, page) == ["page"]
    assert [one.name for one in parser._waiting] == ["b"]
    assert wait.clients["a"].recv(10) == b"busy\n"


def test_hurried_request_does_not_wait_behind_a_source_that_had_a_kill(wait):
    running = Process(wait("running", "killed"))
    parser = Recorder(running)
    parser._used = used(killed=KILLED)
    gone = wait("gone", "other")
    wait.clients["gone"].close()
    hurried = wait("hurried", "killed", is_hurried=True)
    other = wait("other", "other", is_hurried=True)
    assert choose(parser, gone, hurried, other) == ["other"]
    assert wait.clients["hurried"].recv(10) == b"busy\n"
