"""Serves the real gateway over HTTP within a test, so that tests of the desk call it in
place of a stand-in.

It runs in a thread of the test process and uses the test's database connection, while
the test waits for the answer. So everything is rolled back after the test. For tests
that commit it can answer many calls at once, each with a connection of its own.
"""

import contextlib
import threading
from dataclasses import dataclass, field
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import requests
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.db import connections
from django.test import override_settings

from mirror.models import Connection
from mirror.sync.account import read_mailboxes
from tests.factories import make_connection
from tests.integration.gateway.world import World, make_world
from tests.serving import named


@dataclass
class ServedGateway:
    """The served gateway: its address, its calls, and faults by method and end of a
    path. A `lost` answer never comes back; a `spoiled` one is replaced without a call.
    """

    url: str = ""
    calls: list[tuple[str, str]] = field(default_factory=list)
    lost: set[tuple[str, str]] = field(default_factory=set)
    spoiled: dict[tuple[str, str], tuple[int, bytes]] = field(default_factory=dict)

    def fault(self, among, method, path):
        """Return the (method, end of path) in `among` for this call, or None."""
        return next(
            (one for one in among if one[0] == method and path.endswith(one[1])), None
        )


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        """Log nothing."""


class _GatewayHandler(WSGIHandler):
    """Django's handler with the gateway's URLs in place of the desk's.

    It sends no signals at the beginning and end of a request: these would close the
    database connection, which is in the test's transaction.
    """

    def __call__(self, environ, start_response):
        request = WSGIRequest(environ)
        request.urlconf = "gateway.urls"
        response = self.get_response(request)
        start_response(
            f"{response.status_code} {response.reason_phrase}", list(response.items())
        )
        return [b"".join(response)]


class _Threading(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64


@contextlib.contextmanager
def served_gateway(*, at_once=False):
    """Serve the gateway on a free port; `at_once`: many calls at the same time."""
    served = ServedGateway()
    shared = connections["default"]
    with override_settings(MIDDLEWARE=["gateway.middleware.JsonOnlyMiddleware"]):
        handler = _GatewayHandler()

    def application(environ, start_response):
        if not at_once:
            connections["default"] = shared
        method = environ["REQUEST_METHOD"]
        path = environ["PATH_INFO"]
        served.calls.append((method, path))
        if spoiled := served.fault(served.spoiled, method, path):
            status, body = served.spoiled[spoiled]
            start_response(f"{status} Spoiled", [("Content-Type", "application/json")])
            return [body]
        answer = handler(environ, start_response)
        if at_once:
            connections.close_all()
        if served.fault(served.lost, method, path):
            # The change is stored, but the response is lost.
            raise ConnectionAbortedError("the answer is lost")
        return answer

    kind = _Threading if at_once else WSGIServer
    server = kind(("127.0.0.1", 0), _Quiet)
    server.set_app(application)
    server.handle_error = lambda *_: None
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    shared.inc_thread_sharing()
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    try:
        with named(served.url):
            yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
        shared.dec_thread_sharing()


@dataclass
class ServedAccount:
    """An account of the served gateway, and the desk's connection to it with an
    oversight and an admin key.
    """

    gateway: ServedGateway
    world: World
    connection: Connection

    def ask(self, method, path, *, key="admin", json=None):
        """Call the gateway with one of the account's keys."""
        headers = {"Authorization": f"Bearer {self.world.keys[key]}"}
        return requests.request(
            method, self.gateway.url + path, headers=headers, json=json, timeout=10
        )

    def send(self, *, key="agent", **fields):
        """Let an agent send a message from the first mailbox."""
        usual = {"to": "dana@northwind.example", "subject": "Refund", "body": "Hello."}
        body = {"from": self.mailbox.address, **usual, **fields}
        self.ask("POST", "/v1/send_email", key=key, json=body)

    def asked(self, method, path):
        """Return how many calls had this method and end of path."""
        return sum(
            1
            for one in self.gateway.calls
            if one[0] == method and one[1].endswith(path)
        )

    @property
    def mailbox(self):
        """The desk's row of the account's first mailbox, as it is now."""
        return self.connection.mailboxes.select_related("connection").get(
            upstream_id=self.world.mailbox.pk
        )


def make_account(gateway, **fields):
    """Make an account at the gateway, connect the desk to it, and read its mailboxes.
    `fields` are set on the connection.
    """
    world = make_world()
    keys = {"oversight_key": world.keys["desk"], "admin_key": world.keys["admin"]}
    connection = make_connection("served", api_url=gateway.url, **{**keys, **fields})
    connection.mailboxes.all().delete()
    assert read_mailboxes(connection_id=connection.pk) == ""
    gateway.calls.clear()
    return ServedAccount(gateway, world, connection)
