"""A pytest plugin that gives each test process its own PostgreSQL and Redis, in a
temporary folder.

Each process needs its own PostgreSQL, because the ledger's horizon depends on the
transactions of all databases of a server. Load it with `-p tests.cluster`: a conftest
would be too late, because pytest-django reads the settings before. The servers start
after the tests are collected, from a copy of one prepared folder.
"""

import contextlib
import gc
import os
import tempfile
from pathlib import Path

import pytest
import redis

from launcher import environment, keys
from launcher.postgres import OWNER, Servers
from tests.prepared import preparing

pytest_plugins = ("tests.stack",)

# The folder of running servers to use instead, for many short test processes in a row.
_SERVERS_FOLDER = os.environ.get("COUNTERSIGN_TEST_SERVERS")

_open_servers = contextlib.ExitStack()
_servers = None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config):
    # A wrapper comes before pytest-django's hook of the same name, which already needs
    # the settings.
    global _servers
    # No garbage collection until the tests are collected: all of this lasts for the
    # run.
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
    """Start the servers, if there is a test to run.

    Objects that exist now last for the run. Garbage collection skips them from now on;
    otherwise it took a seventh of the time.
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
    """Whether this process runs tests, and needs servers: not if it only lists tests or
    only hands them out to other processes.
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
    settings = environment.read({"DATA_DIR": str(data), "DEMO": "0"})
    return {
        **settings.variables,
        # Nothing answers at these addresses: code that uses a database while tests are
        # collected gets an error at once.
        "DATABASE_URL": "postgresql://nobody@/nothing?host=/nonexistent",
        "REDIS_URL": "unix:///nonexistent/redis.sock?db=0",
        **(servers.variables() if servers else {}),
        # The owner's role: tests create and drop databases, and empty tables to which
        # the application may only add.
        **(
            {"DATABASE_URL": servers.postgres.url(OWNER)}
            if servers and servers.postgres
            else {}
        ),
        **keys.new_keys(),
        # Browser tests leave an event loop in the process. Django would refuse database
        # calls after them, which are harmless here.
        "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
    }
