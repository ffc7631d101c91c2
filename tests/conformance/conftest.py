"""Shared fixtures: the gateway in this process. Tests of the line use the shared
product.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway import smtp as mail_server_memory
from tests.conformance.running import Gateway
from tests.conformance.tenant import Tenant
from tests.integration.gateway.servers import MailServer, mail_server
from tests.programs import Program, program


@pytest.fixture(scope="session")
def mails() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture(scope="session")
def hooks() -> Iterator[Program]:
    with program() as server:
        yield server


@pytest.fixture
def gateway(
    db: None,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    mails: MailServer,
    hooks: Program,
) -> Gateway:
    """The served gateway, with a mail server that accepts everything unless the test
    changes that.
    """
    settings.ROOT_URLCONF = "gateway.urls"
    settings.MIDDLEWARE = ["gateway.middleware.JsonOnlyMiddleware"]
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 30 * 1024 * 1024
    settings.EMAIL_URL = mails.url
    # The accounts have an oversight address, and MultiMail's package cannot send an
    # approval code.
    settings.GATEWAY_APPROVAL_CODES = "0"
    # A slow machine must not make the gateway pause the mail server.
    monkeypatch.setattr(mail_server_memory, "SLOW", 600.0)
    mail_server_memory.State.asked_again_at = 0.0
    mails.mood = "ok"
    mails.refuse = {}
    # Otherwise each search for a mail would read the mail of earlier tests again.
    mails.taken.clear()
    return Gateway(mails, hooks)


@pytest.fixture
def make_tenant(gateway: Gateway) -> Callable[..., Tenant]:
    """Return a function that makes a new account with a mailbox of the given mode."""
    return lambda mode="gated_send": Tenant(gateway, gateway.make_account(mode))


@pytest.fixture
def tenant(make_tenant: Callable[..., Tenant]) -> Tenant:
    """An account whose mailbox holds outgoing messages."""
    return make_tenant()


@pytest.fixture
def other(make_tenant: Callable[..., Tenant]) -> Tenant:
    """Another account."""
    return make_tenant()
