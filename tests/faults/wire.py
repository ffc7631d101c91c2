"""Network faults for `tests/faults/proxy.py`. Each is a function of one exchange.

Tests need not sleep: `Hold` and `Gate` keep a request until the test lets it go on.
"""

import threading

from tests.faults.proxy import PATIENCE, Answer, pass_on


def lose_answer(exchange):
    """The gateway commits, and no byte of its answer comes back."""
    exchange.forward()
    exchange.reset()


def cut_before(exchange):
    """The request was written, and the gateway never sees it."""
    exchange.reset()


def truncate(exchange):
    """The gateway commits, and half of its answer comes back."""
    answer = exchange.forward()
    exchange.write(answer.head(len(answer.body)) + answer.body[: len(answer.body) // 2])
    exchange.reset()


def endless(exchange):
    """The gateway commits, and the answer never ends."""
    answer = exchange.forward()
    exchange.write(answer.head(1 << 40))
    while exchange.write(b" " * 65536):
        pass


def answering(status, body=b'{"error": "Said by the proxy."}', **headers):
    """Return a fault that answers in place of the gateway, which never gets the
    request. Header names are written with underscores.
    """
    all_headers = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): text for name, text in headers.items()
    }
    return lambda exchange: exchange.reply(Answer(status, body, all_headers))


def answering_after(status, body=b'{"error": "Said by the proxy."}'):
    """Return a fault that lets the gateway commit, and replaces its answer."""

    def fault(exchange):
        exchange.forward()
        exchange.reply(Answer(status, body))

    return fault


class Hold:
    """A fault that holds an exchange until `release`: before the gateway has the
    request, or with `after_answer` when it has answered.

    It then goes on, even if the process that sent the request is dead.
    """

    def __init__(self, *, after_answer=False, then=pass_on):
        self.arrived = threading.Event()
        self.released = threading.Event()
        self.done = threading.Event()
        self._after_answer = after_answer
        self._then = then

    def __call__(self, exchange):
        answer = exchange.forward() if self._after_answer else None
        self.arrived.set()
        self.released.wait(PATIENCE)
        if answer is None:
            self._then(exchange)
        else:
            exchange.reply(answer)
        self.done.set()

    def wait(self):
        """Wait until a request is held."""
        assert self.arrived.wait(PATIENCE), (
            "no request came to the point where it should be held"
        )

    def release(self):
        """Let the request go on, and wait until it is done."""
        self.released.set()
        assert self.done.wait(PATIENCE), "what was held did not go on"


class Gate:
    """A fault that holds all exchanges before the server has them, until `open`."""

    def __init__(self):
        self.arrived = threading.Event()
        self.opened = threading.Event()

    def __call__(self, exchange):
        self.arrived.set()
        self.opened.wait(PATIENCE)
        pass_on(exchange)

    def wait(self):
        """Wait until the first request is held."""
        assert self.arrived.wait(PATIENCE), "no request came to the gate"

    def open(self):
        self.opened.set()
