"""Fixtures of the conformance tests: the gateway in this process, and accounts in it.
Tests with real clients over the network use the shared running product instead.
"""

import pytest

from gateway import smtp as mail_server_memory
from tests.conformance.running import Gateway
from tests.conformance.tenant import Tenant
from tests.integration.gateway.servers import mail_server, serve_the_gateway
from tests.programs import program


@pytest.fixture(scope="session")
def mails():
    with mail_server() as server:
        yield server


@pytest.fixture(scope="session")
def hooks():
    with program() as server:
        yield server


@pytest.fixture
def gateway(db, settings, monkeypatch, mails, hooks):
    """The served gateway, with a mail server that accepts everything unless the test
    changes that.
    """
    serve_the_gateway(settings, mails.url)
    # With an oversight address, the accounts would need an approval code, which
    # MultiMail's package cannot send.
    settings.GATEWAY_APPROVAL_CODES = "0"
    # A slow machine must not make the gateway pause the mail server.
    monkeypatch.setattr(mail_server_memory, "SLOW", 600.0)
    mails.mood = "ok"
    mails.refuse = {}
    # So that searches do not read the mail of earlier tests.
    mails.taken.clear()
    return Gateway(mails, hooks)


@pytest.fixture
def make_tenant(gateway):
    """Return a function that makes a new account with a mailbox of the given mode."""
    return lambda mode="gated_send": Tenant(gateway, gateway.make_account(mode))


@pytest.fixture
def tenant(make_tenant):
    """An account whose mailbox holds outgoing messages."""
    return make_tenant()


@pytest.fixture
def other(make_tenant):
    """Another account."""
    return make_tenant()
