"""Secrets at rest: encrypted with the newest key, row by row, and none in clear text in
a dump (line 55).
"""

import io

import pytest
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection as database

from alerts.models import Destination
from audit.models import Entry, EntryDetail
from common.encryption import decrypt, encrypt, uses_newest_key
from dashboard.management.commands import rotate_keys
from gateway.models import Webhook
from mirror.models import Connection
from tests.factories import make_connection
from tests.integration.deciding import in_thread, waiting_for_a_lock
from tests.integration.gateway.world import make_world
from tests.integration.test_connection_pages import KEYS
from tests.ledger import another_session

OLD = Fernet.generate_key().decode()
NEW = Fernet.generate_key().decode()
SECRETS = {
    "oversight_key": "mm_live_clear_oversight",
    "read_key": "mm_live_clear_read",
    "admin_key": "mm_live_clear_admin",
    "agent_key": "mm_live_clear_agent",
    "webhook_secret": "whsec_clear_current",
    "previous_webhook_secret": "whsec_clear_previous",
}
ADDRESS = "https://discord.com/api/webhooks/1/clear-address"
FACTOR = "CLEARTOTPSECRET"
CODES = ["clear-code-1", "clear-code-2"]
HOOK = "whsec_clear_of_the_gateway"


@pytest.fixture
def stored(settings, admin):
    """One secret of each kind, written with the old key; the new key is now first."""
    settings.ENCRYPTION_KEYS = [OLD]
    make_connection(**SECRETS)
    Destination.objects.create(name="#approvals", url=ADDRESS)
    world = make_world()
    Webhook.objects.create(
        account=world.account,
        url="https://x.example/h",
        events=["oversight.pending"],
        secret=HOOK,
    )
    Authenticator.objects.create(
        user=admin, type="totp", data={"secret": encrypt(FACTOR), "used": 7}
    )
    codes = {
        "seed": encrypt("clear-seed"),
        "migrated_codes": [encrypt(one) for one in CODES],
        "used_mask": 3,
    }
    Authenticator.objects.create(user=admin, type="recovery_codes", data=codes)
    settings.ENCRYPTION_KEYS = [NEW, OLD]


def run():
    out = io.StringIO()
    call_command("rotate_keys", stdout=out)
    return out.getvalue()


def tokens():
    """Every stored secret, as the database has it."""
    return [
        token
        for kind in rotate_keys._kinds()
        for row in kind.rows()
        for token in kind.tokens(row)
    ]


def with_older_key():
    return sum(not uses_newest_key(token) for token in tokens())


def test_every_secret_of_every_app_is_re_encrypted_with_the_same_content(
    stored, settings
):
    written = tokens()
    assert with_older_key() == len(written)
    assert f"Encrypted again: {len(written)} secrets in 5 rows" in run()
    assert with_older_key() == 0
    settings.ENCRYPTION_KEYS = [NEW]
    found = Connection.objects.get()
    assert {name: getattr(found, name) for name in SECRETS} == SECRETS
    assert Destination.objects.get().url == ADDRESS
    assert Webhook.objects.get().secret == HOOK
    app, codes = Authenticator.objects.order_by("pk")
    assert decrypt(app.data["secret"]) == FACTOR
    assert app.data["used"] == 7
    assert [decrypt(one) for one in codes.data["migrated_codes"]] == CODES
    assert codes.data["used_mask"] == 3

    assert "already use the newest key" in run()
    assert Entry.objects.filter(action="secrets.rotated").count() == 1
    assert "clear" not in str(
        list(EntryDetail.objects.values_list("fields", flat=True))
    )


def test_secret_that_no_key_reads_is_named_and_keeps_nothing_else_up(stored, settings):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    lost = Destination.objects.create(
        name="#lost", url="https://discord.com/api/webhooks/2/lost"
    )
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    with pytest.raises(CommandError, match=f"alerts.Destination {lost.pk}"):
        run()
    assert with_older_key() == 1


@pytest.mark.django_db(transaction=True)
def test_secret_that_somebody_changes_meanwhile_is_not_put_back(stored):
    """Rotation waits for the row's lock, and then re-encrypts the current value, not
    the one read before.
    """
    with another_session() as other:
        new = encrypt("mm_live_changed_meanwhile")
        other.execute("UPDATE mirror_connection SET read_key = %s", [new])
        rotation, _ = in_thread(rotate_keys.rotate)
        waiting_for_a_lock(database)
    rotation.join(60)
    assert Connection.objects.get().read_key == "mm_live_changed_meanwhile"
    assert with_older_key() == 0


def test_no_secret_stands_in_clear_in_a_dump_of_the_database(stored, signed_in, admin):
    # A request that waits for reauthentication is stored too.
    signed_in(admin, minutes=30).post(
        "/connections/add/", {"place": "ours", "name": "X", **KEYS}
    )
    dump = _dump()
    assert b"Gateway main" in dump
    clear = [
        *SECRETS.values(),
        ADDRESS,
        FACTOR,
        *CODES,
        HOOK,
        "clear-seed",
        *KEYS.values(),
    ]
    assert [secret for secret in clear if secret.encode() in dump] == []
    # Sessions are compressed: compare their content, not the stored bytes.
    packed = " ".join(str(session.get_decoded()) for session in Session.objects.all())
    assert "/connections/add/" not in packed
    assert [secret for secret in clear if secret in packed] == []


def _dump():
    """Every row of every table, as pg_dump writes it: COPY to text."""
    with database.cursor() as cursor:
        copied = []
        for table in database.introspection.table_names(cursor):
            with cursor.copy(f'COPY "{table}" TO STDOUT') as rows:
                copied += [bytes(row) for row in rows]
    return b"".join(copied)
