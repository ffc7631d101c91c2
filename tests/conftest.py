"""Fixtures and settings for all tests: people, a connection, the running product, test
clients. Connections to other machines fail the test.
"""

import functools
import itertools
import os
import socket
from unittest.mock import patch

import hypothesis
import pytest
from django.conf import settings
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.core.management.commands import flush
from django.db import connection as database
from django.db.backends.postgresql.operations import DatabaseOperations
from django.db.models.functions import Now
from django.test import Client

from common.tasks import AfterCommitTask
from launcher.postgres import DATABASE
from tests import factories
from tests.desk import Product
from tests.markup import compact
from tests.signing import resume


def pytest_addoption(parser):
    parser.addoption(
        "--write-permissions",
        action="store_true",
        help="write docs/permissions.md from tests/doors.py",
    )


def pytest_configure(config):
    """Set Django's settings for tests, and how many examples Hypothesis makes."""
    # The ordinary run makes the same few examples each time, so that a failure comes
    # from the change.
    is_ordinary = "not slow" in config.getoption("markexpr")
    quiet = {
        "deadline": None,
        "database": None,
        "suppress_health_check": [*hypothesis.HealthCheck],
    }
    hypothesis.settings.register_profile(
        "ordinary", max_examples=10, derandomize=True, **quiet
    )
    hypothesis.settings.register_profile(
        "all", max_examples=100, print_blob=True, **quiet
    )
    hypothesis.settings.load_profile("ordinary" if is_ordinary else "all")
    # Static files are served from the source folders: tests do not run collectstatic.
    settings.STORAGES["staticfiles"] = {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
    }
    # Without bundles, a page names thirty static files. Making their addresses each
    # time took a twentieth of its time.
    StaticFilesStorage.url = functools.cache(StaticFilesStorage.url)
    # All migrations have run in the database that this one is copied from.
    test_database = settings.DATABASES["default"].setdefault("TEST", {})
    test_database.update(TEMPLATE=DATABASE, MIGRATE=False)
    settings.WHITENOISE_AUTOREFRESH = True
    settings.WHITENOISE_USE_FINDERS = True
    # No cache in the process: counts of an earlier test must not be shown.
    settings.CACHES["process"] = {
        "BACKEND": "django.core.cache.backends.dummy.DummyCache"
    }
    # Nothing listens at this address. Allowing it makes calls fail as if MultiMail were
    # down, not as forbidden.
    settings.OUTGOING_ALLOW = [*settings.OUTGOING_ALLOW, "http://127.0.0.1:1"]
    # The usual hasher is slow on purpose: a quarter of a second for each sign-in.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Run the longest tests first. A long one that began last would run alone while the
    other processes wait.
    """
    items.sort(
        key=lambda item: (
            item.get_closest_marker("soak") is None,
            item.get_closest_marker("slow") is None,
        )
    )


_connect = socket.socket.connect
_LOCAL = ("127.", "::1", "localhost", "0.0.0.0")


def _connect_locally(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and not str(
        address[0]
    ).startswith(_LOCAL):
        raise AssertionError(f"a test wanted to reach {address[0]}")
    _connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def _only_this_machine():
    """Fail on every connection to another machine."""
    socket.socket.connect = _connect_locally
    yield
    socket.socket.connect = _connect


# Tables that migrations filled. No test changes them.
_MIGRATION_TABLES = {"django_content_type", "auth_permission"}


def _flush_what_is_there(
    self, style, tables, *, reset_sequences=False, allow_cascade=False
):
    """Return the SQL that empties the tables between tests. Replaces Django's TRUNCATE,
    which makes new files for each table: few tables have rows.

    The ledger is emptied too, although its triggers refuse that: tests are superusers,
    who can switch triggers off.
    """
    assert not reset_sequences, "no test of ours counts on the numbers of rows"
    # The cache's table, with the counters of sign-in limits, belongs to no model.
    names = [
        self.quote_name(table)
        for table in (*tables, "cache")
        if table not in _MIGRATION_TABLES
    ]
    with self.connection.cursor() as cursor:
        cursor.execute(
            " UNION ALL ".join(
                f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})" for name in names
            )
        )
        filled = [name for (name,) in cursor.fetchall()]
    return [
        "SET LOCAL session_replication_role = 'replica'",
        *(f"DELETE FROM {name}" for name in filled),
    ]


DatabaseOperations.sql_flush = _flush_what_is_there
# This signal would write the rows of migrations again, with 150 statements for each
# test that commits.
flush.emit_post_migrate_signal = lambda *_, **__: None


_numbers = itertools.count()


@pytest.fixture(scope="session")
def django_db_keepdb():
    """Do not drop the database: its server is removed after the run, and a session that
    is still ending would prevent it.
    """
    return True


@pytest.fixture(autouse=True)
def _own_seals_file():
    """Give each test a new file of seals. Seals that are in the file but not in the
    emptied database would stop the sealer.
    """
    settings.SEAL_FILE = (
        settings.DATA_DIR / f"seals-{os.getpid()}-{next(_numbers)}.jsonl"
    )


@pytest.fixture(scope="session")
def product(stack):
    """The running product, shared by all tests that use it. Alerts are posted only in
    tests that use the fixture `alerts`.
    """
    shared = Product(stack)
    shared.set_undo_window("300 milliseconds")
    # The second mailbox is for tests that undo. A person has five seconds, a slow test
    # machine gets a minute.
    shared.set_undo_window("60 seconds", "MAILBOX2_ID")
    shared.hold_alerts()
    return shared


@pytest.fixture(scope="module")
def alerts(product):
    """Let the product post alerts while the tests of this module run."""
    product.post_alerts()
    yield
    product.hold_alerts()


@pytest.fixture(scope="session")
def ana(product):
    return product.reviewer("REVIEWER")


@pytest.fixture(scope="session")
def ben(product):
    return product.reviewer("REVIEWER2")


@pytest.fixture
def connection(db):
    """A connection to a gateway, with one mailbox."""
    return factories.make_connection()


@pytest.fixture
def sent_tasks(monkeypatch):
    """A list of (task name, *arguments): tasks are added, not sent."""
    sent = []

    def note(task, args, kwargs=None, **options):
        sent.append((task.name, *args))

    monkeypatch.setattr(AfterCommitTask, "apply_async_on_commit", note)
    return sent


@pytest.fixture
def reviewer(db):
    return factories.make_person("ana@yourteam.example", "Ana Ferreira", "reviewer")


@pytest.fixture
def second_reviewer(db):
    return factories.make_person("ben@yourteam.example", "Ben Okafor", "reviewer")


@pytest.fixture
def admin(db):
    return factories.make_person("ida@yourteam.example", "Ida Lindqvist", "admin")


@pytest.fixture
def auditor(db):
    return factories.make_person("max@yourteam.example", "Max Weber", "auditor")


@pytest.fixture
def people_shown(db):
    """Allow reports with the figures of single people, as an admin can."""
    from people.models import OrganisationSettings

    OrganisationSettings.objects.update_or_create(
        pk=1, defaults={"person_figures_since": Now()}
    )


class _Database:
    """The database as a request finds it: a test's own transaction does not count."""

    def __getattr__(self, name):
        return getattr(database, name)

    @property
    def in_atomic_block(self):
        return not all(one._from_testcase for one in database.atomic_blocks)


class PageClient(Client):
    """Django's test client. It removes the indentation of templates from HTML pages, so
    that tests need not repeat it. What a view records outside a transaction is an
    error, as in the product.
    """

    def request(self, **request):
        with patch("audit.recording.database", _Database()):
            answer = super().request(**request)
        is_page = (
            answer.headers.get("Content-Type", "").startswith("text/html")
            and not answer.streaming
        )
        if is_page and answer.templates and not answer.headers.get("Content-Encoding"):
            answer.content = compact(answer.text).encode()
        return answer


@pytest.fixture
def client():
    return PageClient()


@pytest.fixture
def signed_in(client):
    """Return a function that signs a person in, `minutes` ago, in the client."""

    return functools.partial(resume, client)
