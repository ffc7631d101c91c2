"""Hosts that share one database have the same keys and settings, or are refused."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import migrations, models
from django.db.migrations import Migration
from django.db.models.functions import Now

from common.version import product_commit, product_version
from dashboard import hosts
from dashboard.models import Host
from launcher.keys import new_keys
from tests.stack import wait_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def other():
    """A host that joined with the settings of this one."""
    hosts.join()
    Host.objects.update(name="other", version="0.0.9")


def test_host_with_the_settings_of_the_others_joins(other, settings):
    # A key that is being replaced: both hosts have the old one.
    settings.SEAL_KEYS = [new_keys()["SEAL_KEY"], *settings.SEAL_KEYS]
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = new_keys()["SECRET_KEY"]
    hosts.refuse_difference()
    hosts.join()
    assert Host.objects.count() == 2
    assert hosts.other_versions() == ["other (0.0.9)"]
    # A commit that is not known is no difference.
    Host.objects.filter(name="other").update(version=product_version())
    assert hosts.other_versions() == []
    Host.objects.filter(name="other").update(version=f"{product_version()} (0123)")
    assert len(hosts.other_versions()) == bool(product_commit())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLIC_URL", "https://elsewhere.example"),
        ("ALLOWED_HOSTS", ["elsewhere.example"]),
        ("SECRET_KEY", "another key, which no other host has, for sessions"),
    ],
)
def test_host_that_differs_from_one_that_runs_is_refused_by_name(
    other, settings, name, value
):
    setattr(settings, name, value)
    with pytest.raises(CommandError, match=f"^{name} .* host other, which runs now"):
        hosts.refuse_difference()
    # Once the other host is gone, the operator has changed the setting everywhere.
    Host.objects.update(seen_at=Now() - timedelta(seconds=hosts.GONE_AFTER))
    hosts.refuse_difference()


@pytest.mark.parametrize(
    ("name", "setting"),
    [("ENCRYPTION_KEYS", "ENCRYPTION_KEYS"), ("SEAL_KEY", "SEAL_KEYS")],
)
def test_other_keys_are_refused_until_an_operator_says_that_the_old_ones_are_lost(
    other, settings, name, setting
):
    Host.objects.update(seen_at=Now() - timedelta(days=300))
    setattr(settings, setting, [new_keys()[name]])
    with pytest.raises(CommandError, match=f"^{name} is not the key"):
        hosts.refuse_difference()
    call_command("rotate_keys", "--lost")
    hosts.refuse_difference()


def test_no_secret_is_stored_with_a_host(settings):
    settings.EMAIL_URL = "smtp://desk:sesame@mail.example.com"
    hosts.join()
    stored = str(Host.objects.get().settings)
    assert "mail.example.com" in stored
    keys = [settings.SECRET_KEY, *settings.ENCRYPTION_KEYS, *settings.SEAL_KEYS]
    for secret in ("sesame", *keys):
        assert secret not in stored


class Plan:
    """Stands in for Django's executor, with migrations of these operations."""

    def __init__(self, *operations):
        self.loader = self
        self.graph = self
        self._migration = Migration("made_up", "mirror")
        self._migration.operations = operations

    def __call__(self, connection):
        return self

    def leaf_nodes(self):
        return []

    def migration_plan(self, targets):
        return [(self._migration, False)]


@pytest.mark.parametrize(
    ("operation", "is_refused"),
    [
        (migrations.CreateModel("new", []), False),
        (migrations.AddField("message", "new", models.TextField(null=True)), False),
        (migrations.AddField("message", "new", models.TextField(db_default="")), False),
        # Django drops the default, so that inserts of older code would fail.
        (migrations.AddField("message", "new", models.TextField(default="")), True),
        (migrations.RemoveField("message", "state"), True),
        (migrations.RunSQL("SELECT 1"), True),
    ],
)
def test_upgrade_that_breaks_a_host_that_runs_is_refused(
    other, monkeypatch, operation, is_refused
):
    monkeypatch.setattr(hosts, "MigrationExecutor", Plan(operation))
    if is_refused:
        with pytest.raises(CommandError, match=r"mirror\.made_up.* hosts other use"):
            hosts.refuse_breaking_upgrade()
    else:
        hosts.refuse_breaking_upgrade()
    Host.objects.update(seen_at=Now() - timedelta(seconds=hosts.GONE_AFTER))
    hosts.refuse_breaking_upgrade()


@pytest.mark.django_db(transaction=True)
def test_host_is_listed_while_it_runs_and_gone_when_it_ends(monkeypatch):
    hosts.join()
    Host.objects.update(name="other")
    monkeypatch.setattr(hosts, "_name", lambda: "other")
    monkeypatch.setattr(hosts, "EVERY", 0.05)
    Host.objects.update(seen_at=Now() - timedelta(days=1))
    listing = hosts.Listing()
    listing.start()
    alive = Host.objects.filter(seen_at__gt=Now() - timedelta(seconds=hosts.GONE_AFTER))
    wait_for(alive.exists, 30, "the host to be listed")
    listing.end()
    listing.join()
    assert not alive.exists()
