"""Hosts that share one database have the same keys and settings, or are refused."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from dashboard import hosts
from dashboard.models import Host
from launcher.keys import new_keys

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
