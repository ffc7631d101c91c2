"""What can go wrong on the wire, each a function of one exchange at the proxy.

Nothing here sleeps to let things happen: `Hold` waits for a request and for the word.
"""

import threading
import time

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
    """Answer for the gateway, which sees nothing. Header names are written with
    underscores.
    """
    all_headers = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): text for name, text in headers.items()
    }
    return lambda exchange: exchange.reply(Answer(status, body, all_headers))


def answering_after(status, body=b'{"error": "Said by the proxy."}'):
    """Let the gateway commit, and replace its answer."""

    def fault(exchange):
        exchange.forward()
        exchange.reply(Answer(status, body))

    return fault


def dripping(pause):
    """Let the gateway commit, and give its answer byte by byte: each soon enough, all
    of them far too late.
    """

    def fault(exchange):
        answer = exchange.forward()
        exchange.write(answer.head(len(answer.body)))
        for byte in answer.body:
            if not exchange.write(bytes([byte])):
                return
            time.sleep(pause)

    return fault


class Hold:
    """Stops an exchange until told: before the gateway has the request, or when it has
    answered.

    The request goes on when `release` is called, whether or not the one who sent it
    still lives.
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
        """Until a request stands here."""
        assert self.arrived.wait(PATIENCE), (
            "no request came to the point where it should be held"
        )

    def release(self):
        """Let it go on, and return when it has."""
        self.released.set()
        assert self.done.wait(PATIENCE), "what was held did not go on"


def deliver_twice(exchange):
    """The network hands the request on twice, and only the second answer comes back."""
    exchange.forward()
    exchange.reply(exchange.forward())


class Gate:
    """Stops every exchange before the other side has it, until it is opened for all."""

    def __init__(self):
        self.arrived = threading.Event()
        self.opened = threading.Event()

    def __call__(self, exchange):
        self.arrived.set()
        self.opened.wait(PATIENCE)
        pass_on(exchange)

    def wait(self):
        """Until the first stands here."""
        assert self.arrived.wait(PATIENCE), "no request came to the gate"

    def open(self):
        self.opened.set()
