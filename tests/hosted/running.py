"""Serves the stand-in for hosted MultiMail over HTTP, in a thread of a test."""

import contextlib
import json
from urllib.parse import parse_qsl, urlsplit

from tests.hosted.host import Host
from tests.serving import Handler, serving


def handler(host):
    """Return a request handler class that answers for this host."""

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
            status, content, headers = host.answer(
                self.command, address.path, query, body, secret
            )
            self.reply(status, content, **headers)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

    return Answers


@contextlib.contextmanager
def hosted():
    """Serve a lenient host on a free port. The desk may call it."""
    host = Host("lenient")
    with serving(handler(host)) as host.url:
        yield host
