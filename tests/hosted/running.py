"""Serves the stand-in over HTTP, in a thread of the test."""

import contextlib
import json
from urllib.parse import parse_qsl, urlsplit

from tests.hosted.host import Host
from tests.serving import Handler, serving


def handler(host):
    """Return the class that answers for this host."""

    class Answers(Handler):
        def _answer(self):
            address = urlsplit(self.path)
            raw = self.body()
            try:
                body = json.loads(raw) if raw.strip() else {}
            except ValueError:
                body = None
            secret = self.headers.get("Authorization", "").removeprefix("Bearer ")
            query = dict(parse_qsl(address.query, keep_blank_values=True))
            status, found, headers = host.answer(
                self.command, address.path, query, body, secret
            )
            self.reply(status, found, **headers)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

    return Answers


@contextlib.contextmanager
def hosted():
    """Run it on a free port, which the desk may call."""
    host = Host("lenient")
    with serving(handler(host)) as host.url:
        yield host
