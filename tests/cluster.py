"""The pytest plugin that gives each test process a PostgreSQL and a Redis of its own,
in a temporary folder.

One cluster a process, because the ledger's horizon counts the transactions of all
databases of a cluster. It must be loaded with `-p tests.cluster`: pytest-django reads
the settings before any conftest is looked at. The servers themselves start when the
tests have been collected, each from a copy of one prepared folder.
"""

import contextlib
import gc
import os
import tempfile
from pathlib import Path

import pytest
import redis

from launcher import environment, keys
from launcher.postgres import OWNER
from launcher.servers import Servers
from tests.prepared import preparing

pytest_plugins = ("tests.stack",)

# The folder of servers that run already, for whoever starts many short test processes
# one after the other.
_SERVERS_FOLDER = os.environ.get("COUNTERSIGN_TEST_SERVERS")

_open_servers = contextlib.ExitStack()
_servers = None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config):
    # A wrapper comes before pytest-django's hook of the same name, which already needs
    # the settings.
    global _servers
    # What is imported and collected lasts as long as the run: nothing of it is garbage.
    gc.disable()
    if _SERVERS_FOLDER:
        _servers = Servers(Path(_SERVERS_FOLDER), durable=False)
    elif not _only_lists(early_config):
        preparing.begin()
    if not _SERVERS_FOLDER and _runs_tests(early_config):
        folder = tempfile.TemporaryDirectory(
            prefix="countersign-", ignore_cleanup_errors=True
        )
        _servers = Servers(Path(_open_servers.enter_context(folder)), durable=False)
    for name in environment.PRODUCT_VARIABLES & os.environ.keys():
        del os.environ[name]
    os.environ.update(_variables(_servers))
    yield


def pytest_collection_finish(session):
    """Start the servers, where there is a test to run.

    What lasts as long as the run is left out of each search for garbage: that took a
    seventh of the time.
    """
    if _SERVERS_FOLDER and _servers is not None and _servers.redis is not None:
        redis.Redis.from_url(_servers.redis.url()).flushall()
    elif _servers is not None and _servers.postgres is not None and session.items:
        preparing.copy_to(_servers.postgres.data)
        _open_servers.callback(_servers.stop)
        _servers.start()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    gc.enable()


def pytest_unconfigure():
    _open_servers.close()


def _only_lists(config):
    options = config.known_args_namespace
    return bool(
        getattr(options, "collectonly", False) or getattr(options, "help", False)
    )


def _runs_tests(config):
    """Neither the process that only hands out tests to others, nor one that only lists
    them, needs servers.
    """
    hands_out = "PYTEST_XDIST_WORKER" not in os.environ and getattr(
        config.known_args_namespace, "numprocesses", None
    )
    return not hands_out and not _only_lists(config)


def _variables(servers):
    data = (
        servers.postgres.data.parent
        if servers and servers.postgres
        else Path("/nonexistent")
    )
    asked = environment.read({"DATA_DIR": str(data), "DEMO": "0"})
    return {
        **asked.variables,
        # Nothing answers here: whoever asks a database while tests are only collected
        # gets an error at once.
        "DATABASE_URL": "postgresql://nobody@/nothing?host=/nonexistent",
        "REDIS_URL": "unix:///nonexistent/redis.sock?db=0",
        **(servers.variables() if servers else {}),
        # As the owner: tests make and drop databases, and empty tables that the
        # application may only add to.
        **(
            {"DATABASE_URL": servers.postgres.url(OWNER)}
            if servers and servers.postgres
            else {}
        ),
        **keys.new_keys(),
        # The browser tests leave an event loop in their process; a database test that
        # comes after them is no danger.
        "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
    }
