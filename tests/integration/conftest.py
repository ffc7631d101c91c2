"""Fixtures of the tests with a database."""

from datetime import timedelta

import pytest

from approvals import asking


@pytest.fixture(autouse=True)
def _read_without_rest(monkeypatch):
    """Let one whole read follow the other at once: MultiMail is a stand-in here, which asks for no rest."""
    monkeypatch.setattr(asking, "READ_PAUSE", timedelta(0))
