"""A proxy between a client and the gateway that spoils an answer when a test asks for
it.
"""

import contextlib
from dataclasses import dataclass, field

import requests

from tests.serving import Handler, serving

LOST = "lost"  # passed on, but the answer never comes back
BUSY = "busy"  # not passed on: 429, try again at once
USED_UP = "used up"  # not passed on: 429, try again tomorrow
_WAITS = {BUSY: "0", USED_UP: "86400"}

_PASSED = ("Authorization", "X-API-Key", "Content-Type", "Idempotency-Key")


@dataclass
class Between:
    """`faults` are used up one a request, oldest first; `calls` are (method, path,
    status).
    """

    url: str = ""
    faults: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, int]] = field(default_factory=list)


@contextlib.contextmanager
def between(gateway_url):
    """Serve on a free port in front of a gateway."""
    proxy = Between()

    class Answers(Handler):
        def _pass_on(self):
            body = self.body() or None
            fault = proxy.faults.pop(0) if proxy.faults else ""
            if fault in _WAITS:
                return self.reply(
                    429,
                    {"error": "Too much.", "code": "-"},
                    **{"Retry-After": _WAITS[fault]},
                )
            headers = {
                name: self.headers[name] for name in _PASSED if name in self.headers
            }
            answer = requests.request(
                self.command,
                gateway_url + self.path,
                data=body,
                headers=headers,
                timeout=60,
                allow_redirects=False,
            )
            proxy.calls.append((self.command, self.path, answer.status_code))
            if fault == LOST:
                self.close_connection = True
                return None
            passed_on = {
                name: answer.headers[name]
                for name in ("Content-Type", "Retry-After")
                if name in answer.headers
            }
            return self.reply(answer.status_code, answer.content, **passed_on)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815

    with serving(Answers) as origin:
        proxy.url = origin
        yield proxy
