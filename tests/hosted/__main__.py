"""Serves the stand-in: the API, and `/_control` for tests."""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tests.hosted import control
from tests.hosted.host import Host
from tests.hosted.temper import TEMPERS, Temper


def handler(host):
    """Return the class that answers for this host."""

    class Answers(BaseHTTPRequestHandler):
        def _answer(self):
            address = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                body = json.loads(raw) if raw.strip() else {}
            except ValueError:
                body = None
            if address.path == "/_control":
                found = (
                    control.carry_out(host, body)
                    if self.command == "POST"
                    else control.shown(host)
                )
                self._send(200, found, {})
                return
            bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
            secret = bearer or self.headers.get("X-API-Key", "")
            query = dict(parse_qsl(address.query, keep_blank_values=True))
            self._send(*host.answer(self.command, address.path, query, body, secret))

        def _send(self, status, found, headers):
            raw = found if isinstance(found, bytes) else json.dumps(found).encode()
            kind = "octet-stream" if isinstance(found, bytes) else "json"
            self.send_response(status)
            sent = {"Content-Type": f"application/{kind}", "Content-Length": len(raw)}
            for name, text in (sent | headers).items():
                self.send_header(name, str(text))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

        def log_message(self, *_):
            """Log nothing."""

    return Answers


class Server(ThreadingHTTPServer):
    """Many callers at once, and none waits for a place."""

    daemon_threads = True
    request_queue_size = 200


def main():
    """Serve until stopped; the first line of the output is the address."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosted", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 is a free one")
    parser.add_argument("--temper", choices=TEMPERS, default="lenient")
    options = parser.parse_args()
    host = Host(Temper(**TEMPERS[options.temper]))
    server = Server(("127.0.0.1", options.port), handler(host))
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    print(
        "Keys: "
        + ", ".join(
            f"{key.text} ({', '.join(key.scopes)})" for key in host.keys.values()
        ),
        flush=True,
    )
    server.serve_forever()


if __name__ == "__main__":
    main()
