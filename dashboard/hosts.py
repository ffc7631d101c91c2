"""The hosts that run this desk, and whether their settings agree.

Each host has a row with the settings that all must share; of keys, only digests. The
rows also show whether the keys are those with which the database was filled.
"""

import hashlib
import logging
import socket
import threading
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import CommandError
from django.db import DatabaseError, connection, migrations, models
from django.db.migrations.executor import MigrationExecutor
from django.db.models.functions import Now

from common.version import is_same_build, product_build
from dashboard.models import Host

log = logging.getLogger(__name__)

# Seconds between two signs of life, and after how many a host counts as gone.
EVERY = 20
GONE_AFTER = 60
# The keys without which what is stored cannot be read or sealed.
_LASTING = ("ENCRYPTION_KEYS", "SEAL_KEY")
_SHARED = """
PUBLIC_URL ALLOWED_HOSTS LIVE_URL MULTIMAIL_API_URL GATEWAY_APPROVAL_CODES
GATEWAY_RATE_LIMIT AUDIT_DETAILS_DAYS OIDC_ISSUER OIDC_CLIENT_ID DISCORD_APP_ID
DISCORD_PUBLIC_KEY DISCORD_API_URL DEMO
""".split()


def refuse_difference() -> None:
    """Raise CommandError if this host must not use the database: a key is not
    the one with which it was filled, or a setting differs from that of a host that runs
    now.
    """
    ours = _settings()
    # These columns only: an upgrade may be about to add others.
    last = Host.objects.only("name", "settings").order_by("-joined_at").first()
    for name in _LASTING:
        if last and not _agree(ours, last, name):
            raise CommandError(
                f"{name} is not the key with which this database was filled. Give the one of {last.name}, or copy "
                "secrets.env from its DATA_DIR or a backup. If the key is lost: ./run manage rotate_keys --lost. "
                "Nothing was changed."
            )
    for name, host in differences():
        raise CommandError(
            f"{name} is another one than on the host {host.name}, which runs now. All hosts need the same. "
            "To change it, stop all of them first. Nothing was changed."
        )


def differences() -> list[tuple[str, Host]]:
    """Return each setting that another host that runs now does not share, with that
    host.
    """
    ours = _settings()
    return [
        (name, host)
        for host in _others_alive()
        for name in ours
        if not _agree(ours, host, name)
    ]


def join() -> None:
    """Write this host's row."""
    values = {"settings": _settings(), "version": product_build()}
    Host.objects.update_or_create(
        name=_name(), defaults={**values, "joined_at": Now(), "seen_at": Now()}
    )


def other_versions() -> list[str]:
    """Return the hosts that run now with another version, as "name (version)"."""
    ours = product_build()
    return [
        f"{host.name} ({host.version})"
        for host in _others_alive()
        if not is_same_build(host.version, ours)
    ]


def migrations_to_run() -> list[migrations.Migration]:
    """Return the migrations that are not applied yet, in their order."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [migration for migration, _ in plan]


def refuse_breaking_upgrade() -> None:
    """Raise CommandError if there are migrations after which the code of other hosts,
    which run now, could not go on.
    """
    breaking = [
        f"{migration.app_label}.{migration.name}"
        for migration in migrations_to_run()
        if not all(map(_is_additive, migration.operations))
    ]
    names = [host.name for host in _others_alive()] if breaking else []
    if names:
        raise CommandError(
            f"This upgrade changes tables ({', '.join(breaking[:3])}) that the hosts {', '.join(names)} use now. Stop "
            "them first; one that was killed counts for a minute. Nothing was changed."
        )


class Listing(threading.Thread):
    """Gives a sign of life of this host periodically, and says that it is gone when the
    process ends. Others of this host that still run say soon that it is not.
    """

    def __init__(self) -> None:
        super().__init__(name="listing", daemon=True)
        self._ending = threading.Event()

    def run(self) -> None:
        """Run until `end` is called."""
        is_over = False
        while not is_over:
            is_over = self._ending.wait(EVERY)
            age = timedelta(seconds=GONE_AFTER if is_over else 0)
            try:
                Host.objects.filter(name=_name()).update(seen_at=Now() - age)
            except DatabaseError as error:
                log.warning("host not listed", extra={"reason": type(error).__name__})
            # Not kept, because each process has one.
            connection.close()

    def end(self) -> None:
        """Say that the host is gone, which may take a second at most."""
        self._ending.set()
        self.join(timeout=1)


# Whether code that does not know of it works as before. SQL and Python may do anything.
def _is_additive(operation: migrations.operations.base.Operation) -> bool:
    if isinstance(operation, migrations.AddField):
        return operation.field.null or operation.field.has_db_default()
    return isinstance(operation, migrations.CreateModel | migrations.AddIndex)


def _others_alive() -> "models.QuerySet[Host]":
    alive = Host.objects.filter(seen_at__gt=Now() - timedelta(seconds=GONE_AFTER))
    return alive.exclude(name=_name()).only("name", "settings")


def _name() -> str:
    return socket.gethostname()


# Whether a host's setting agrees with ours. While a key is replaced, two hosts share
# only one of theirs. An empty setting may belong to the other product only.
def _agree(ours: dict[str, list[str]], host: Host, name: str) -> bool:
    theirs = host.settings.get(name)
    return not theirs or not set(ours[name]).isdisjoint(theirs)


def _settings() -> dict[str, list[str]]:
    keys = {
        "SECRET_KEY": [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS],
        "ENCRYPTION_KEYS": settings.ENCRYPTION_KEYS,
        "SEAL_KEY": settings.SEAL_KEYS,
    }
    values = {name: getattr(settings, name) for name in _SHARED}
    # Without the password.
    values["EMAIL_URL"] = urlsplit(settings.EMAIL_URL).hostname
    return {
        name: [hashlib.sha256(key.encode()).hexdigest()[:16] for key in found]
        for name, found in keys.items()
    } | {name: [str(value)] for name, value in values.items() if value}
