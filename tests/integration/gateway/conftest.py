"""The gateway as it is served: its own URLs and middleware, whatever else the test process has installed."""

from collections.abc import Iterator

import pytest

from gateway import mail_server as mail_server_memory
from gateway import smtp
from tests.integration.gateway import servers
from tests.integration.gateway.world import World, make_world


@pytest.fixture(autouse=True)
def _serve_the_gateway(settings):
    settings.ROOT_URLCONF = "gateway.urls"
    settings.MIDDLEWARE = ["gateway.middleware.JsonOnlyMiddleware"]
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 30 * 1024 * 1024
    settings.EMAIL_URL = "smtp://127.0.0.1:9"
    settings.OUTGOING_ALLOW = []
    # Nobody: what is about DNS brings its own server.
    settings.DNS_SERVER = ("127.0.0.1", 9)
    mail_server_memory.State.asked_again_at = 0.0


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def other(db: None) -> World:
    """Another tenant."""
    return make_world("globex")


@pytest.fixture
def mail_server(settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[servers.MailServer]:
    for limit in ("CONNECT_TIMEOUT", "STEP_TIMEOUT", "ANSWER_TIMEOUT"):
        monkeypatch.setattr(smtp, limit, 0.5)
    with servers.mail_server() as server:
        settings.EMAIL_URL = server.url
        yield server


@pytest.fixture
def hook_server(settings) -> Iterator[servers.HookServer]:
    with servers.hook_server() as server:
        settings.OUTGOING_ALLOW = [server.url]
        yield server
