"""Fixtures: a running demo, shared or for one test."""

import pytest

from tests.integration.demo.running import Demo


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """One demo shared by tests; each test uses its own webhook."""
    running = Demo(tmp_path_factory.mktemp("demo")).start()
    yield running
    running.stop()


@pytest.fixture
def own_demo(tmp_path):
    """A demo that no other test uses."""
    running = Demo(tmp_path).start()
    yield running
    running.stop()
