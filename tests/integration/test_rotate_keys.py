"""Secrets at rest: encrypted with the newest key, row by row, and none of them in clear in a dump (line 55)."""

import io
import threading

import psycopg
import pytest
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.db.models import TextField
from django.db.models.functions import Cast

from alerts.models import Destination
from approvals.models import Connection
from audit.models import Entry, EntryDetail
from common.encryption import decrypt, encrypt, uses_newest_key
from dashboard import secrets_at_rest
from gateway.models import Webhook
from tests.factories import make_connection
from tests.integration.gateway.world import make_world
from tests.integration.test_connection_pages import KEYS

pytestmark = pytest.mark.django_db

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()
SECRETS = {
    "oversight_key": "mm_live_clear_oversight",
    "read_key": "mm_live_clear_read",
    "admin_key": "mm_live_clear_admin",
    "agent_key": "mm_live_clear_agent",
    "webhook_secret": "whsec_clear_current",
    "previous_webhook_secret": "whsec_clear_previous",
}
ADDRESS = "https://discord.com/api/webhooks/1/clear-address"
FACTOR, CODES = "CLEARTOTPSECRET", ["clear-code-1", "clear-code-2"]
HOOK = "whsec_clear_of_the_gateway"


@pytest.fixture
def stored(settings, admin):
    """One of each kind of secret, written with the old key; the new one comes first now."""
    settings.ENCRYPTION_KEYS = [OLD]
    make_connection(**SECRETS)
    Destination.objects.create(name="#approvals", url=ADDRESS)
    world = make_world()
    Webhook.objects.create(account=world.account, url="https://x.example/h", events=["oversight.pending"], secret=HOOK)
    Authenticator.objects.create(user=admin, type="totp", data={"secret": encrypt(FACTOR), "used": 7})
    codes = {"seed": encrypt("clear-seed"), "migrated_codes": [encrypt(one) for one in CODES], "used_mask": 3}
    Authenticator.objects.create(user=admin, type="recovery_codes", data=codes)
    settings.ENCRYPTION_KEYS = [NEW, OLD]


def run(*arguments):
    out = io.StringIO()
    call_command("rotate_keys", *arguments, stdout=out)
    return out.getvalue()


def tokens():
    """Every stored secret, as the database has it."""
    return [token for kind in secrets_at_rest._kinds() for row in kind.rows() for token in kind.tokens(row)]


def test_every_secret_of_every_app_is_encrypted_anew_and_says_the_same(stored, settings):
    before = secrets_at_rest.look()
    assert (before.secrets, before.older) == (len(tokens()), len(tokens()))
    assert "of them with an older key" in run("--check")
    said = run()
    assert f"Encrypted anew: {before.secrets} secrets in 5 rows" in said
    assert all(uses_newest_key(token) for token in tokens())
    settings.ENCRYPTION_KEYS = [NEW]
    found = Connection.objects.get()
    assert {name: getattr(found, name) for name in SECRETS} == SECRETS
    assert (Destination.objects.get().url, Webhook.objects.get().secret) == (ADDRESS, HOOK)
    app, codes = Authenticator.objects.order_by("pk")
    assert (decrypt(app.data["secret"]), app.data["used"]) == (FACTOR, 7)
    assert ([decrypt(one) for one in codes.data["migrated_codes"]], codes.data["used_mask"]) == (CODES, 3)
    assert "0 of them with an older key" in run("--check")
    assert "newest key already" in run()


def test_rotation_stands_in_the_ledger_once_and_without_a_secret(stored):
    run()
    run()
    assert Entry.objects.filter(action="secrets.rotated").count() == 1
    assert "clear" not in str(list(EntryDetail.objects.values_list("fields", flat=True)))


def test_looking_changes_nothing(stored):
    before = tokens()
    run("--check")
    assert tokens() == before
    assert not Entry.objects.filter(action="secrets.rotated").exists()


def test_rotation_that_broke_off_goes_on_where_it_was(stored, monkeypatch):
    monkeypatch.setattr(secrets_at_rest, "CHUNK", 1)
    real, renewed = secrets_at_rest._renew, []

    def renew(kind, key, tally):
        if len(renewed) == 2:
            raise KeyboardInterrupt
        renewed.append(key)
        real(kind, key, tally)

    monkeypatch.setattr(secrets_at_rest, "_renew", renew)
    with pytest.raises(KeyboardInterrupt):
        run()
    left = secrets_at_rest.look()
    assert 0 < left.older < left.secrets
    monkeypatch.setattr(secrets_at_rest, "_renew", real)
    assert "in 3 rows" in run()
    assert secrets_at_rest.look().older == 0


def test_secret_that_no_key_reads_is_named_and_keeps_nothing_else_up(stored, settings):
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    lost = Destination.objects.create(name="#lost", url="https://discord.com/api/webhooks/2/lost")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    with pytest.raises(CommandError, match=f"alerts.Destination {lost.pk}"):
        run()
    assert secrets_at_rest.look().older == 1


@pytest.mark.django_db(transaction=True)
def test_secret_that_somebody_changes_meanwhile_is_not_put_back(stored):
    """Rotation waits for the row's lock, and then renews what stands there, not what it had read before."""
    locked, done = threading.Event(), threading.Event()
    parameters = {name: text for name, text in database.get_connection_params().items() if name in _OF_PSYCOPG}
    new = encrypt("mm_live_changed_meanwhile")

    def change():
        with psycopg.connect(**parameters) as other:
            other.execute("UPDATE approvals_connection SET read_key = %s", [new])
            locked.set()
            done.wait(10)

    thread = threading.Thread(target=change)
    thread.start()
    locked.wait(10)
    rotation = threading.Thread(target=_rotate)
    rotation.start()
    _wait_for_lock()
    done.set()
    thread.join(10)
    rotation.join(10)
    assert Connection.objects.get().read_key == "mm_live_changed_meanwhile"
    assert secrets_at_rest.look().older == 0


_OF_PSYCOPG = ("dbname", "user", "host", "port", "password")


def _rotate():
    secrets_at_rest.rotate()
    database.close()


def _wait_for_lock():
    from tests.integration.deciding import waiting_for_a_lock

    waiting_for_a_lock(database)


@pytest.mark.proves("security 55")
@pytest.mark.django_db(transaction=True)
def test_no_secret_stands_in_clear_in_a_dump_of_the_database(stored, signed_in, admin):
    # What is posted and waits for somebody to confirm who they are is kept too.
    signed_in(admin, minutes=30).post("/connections/add/", {"place": "ours", "name": "X", **KEYS})
    dump = _dump()
    assert b"Gateway main" in dump
    clear = [*SECRETS.values(), ADDRESS, FACTOR, *CODES, HOOK, "clear-seed", *KEYS.values()]
    assert [secret for secret in clear if secret.encode() in dump] == []
    # Sessions are packed: as what stands in them, not as it is stored.
    packed = " ".join(str(session.get_decoded()) for session in Session.objects.all())
    assert "/connections/add/" not in packed
    assert [secret for secret in clear if secret in packed] == []


def _dump():
    """Every row of every table, as pg_dump writes it: COPY to text."""
    copied = []
    with database.cursor() as cursor:
        for table in database.introspection.table_names(cursor):
            with cursor.copy(f'COPY "{table}" TO STDOUT') as rows:
                copied += [bytes(row) for row in rows]
    return b"".join(copied)


def test_field_that_is_read_raw_is_never_the_secret_itself(stored):
    raw = Connection.objects.annotate(raw=Cast("oversight_key", TextField())).values_list("raw", flat=True)
    assert [SECRETS["oversight_key"] in one for one in raw] == [False]
