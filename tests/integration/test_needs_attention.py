"""Whatever needs an operator is the same item for `doctor`, on the page Needs attention
and in the metrics, and has a sentence that says how to mend it.
"""

import os
import time
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection as database
from django.db.models.functions import Now
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from alerts.models import Delivery, Destination
from approvals.operations.attention import attention_count, attention_for
from audit.guards import APPEND_ONLY
from audit.recording import record
from common.actors import operator
from common.postgres import IdleSession, made_in_schema
from common.waiting_mail import BAD_DOMAINS, WAITING, WaitingMail
from dashboard import hosts, probes
from dashboard.health import checks, guards
from dashboard.health.views import exposition
from dashboard.models import BACKUP, Host, Tick
from dashboard.words import STUCK
from launcher import data_folder
from mirror.models import Connection
from notices.models import Notice
from policy.errors import RuleError
from policy.kill_switch import pull
from policy.models import KillSwitch
from tests.factories import actor_of, rolled_back

# The kinds of items about messages, connections and seals; test_attention.py,
# test_sealing.py, test_ledger_state.py and test_gates.py find each of them.
OF_THE_DESK = set(
    """
    unknown unattributed withdrawn stalled refused replaced overdue connection unfetchable
    unread not_taken silent poison late refuted unsigned below_minimum unexplained ledger
    ledger_stopped ledger_broken silent_webhook
    """.split()
)


def silence(job):
    Tick.objects.filter(job=job).update(at=Now() - timedelta(minutes=3))


def silence_gateway(**_):
    Connection.objects.update(is_our_gateway=True)
    Tick.objects.create(job="gateway.tasks.sweep", period=1)
    silence("gateway.tasks.sweep")


def sql(statement):
    with database.cursor() as cursor:
        cursor.execute(statement)


def join_other_host(**changes):
    hosts.join()
    host = Host.objects.get()
    host.settings.update(changes.pop("settings", {}))
    Host.objects.update(name="other", settings=host.settings, **changes)


def make_late_delivery():
    destination = Destination.objects.create(name="Ops", url="https://example.com/x")
    long_ago = Now() - timedelta(minutes=5)
    Delivery.objects.create(
        destination=destination, kind="event", next_attempt_at=long_ago
    )


def mail_to(person, **fields):
    return Destination.objects.create(
        name="Mail", kind="email", owner=person, switched_off_because="550", **fields
    )


def stop_desk(patch, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    state = {"processes": {"postgres": 2}, "verb": "manage"}
    patch.setattr(data_folder, "is_held", lambda data: True)
    patch.setattr(data_folder, "read_state", lambda data: state)


def break_rules(patch):
    def refuse():
        raise RuleError("There is no rule 4")

    patch.setattr(checks, "problems_now", refuse)


def pull_switch(admin):
    pull(actor=actor_of(admin), reason="A flood")
    KillSwitch.objects.update(pulled_at=Now() - timedelta(hours=1))


def fill_queue(patch):
    patch.setattr(checks, "MANY_WAITING", 0)
    broker = checks._redis()
    broker.delete(*checks.QUEUES)
    broker.rpush("alerts", "{}")


def note_mail(cause):
    since = timezone.now() - timedelta(hours=2)
    following = timezone.now() + timedelta(minutes=20 if cause else -20)
    mail = WaitingMail(cause, 12, since, following, "01HX", "The server's words.")
    cache.set(WAITING, [mail])


BROKEN = {
    "guards": lambda **_: sql("ALTER TABLE audit_entry DISABLE TRIGGER USER"),
    "migrations": lambda **_: sql("DELETE FROM django_migrations WHERE app = 'policy'"),
    "stopped": lambda patch, settings, tmp_path, **_: stop_desk(
        patch, settings, tmp_path
    ),
    "worker": silence_gateway,
    "parser": lambda patch, **_: patch.setitem(os.environ, "PARSER_SOCKET", "/none"),
    "alerts": lambda **_: make_late_delivery(),
    "destination": lambda **_: Destination.objects.create(
        name="Ops", url="https://example.com/x", switched_off_at=Now() - timedelta(hours=1)
    ),
    "bounced": lambda admin, **_: mail_to(admin, switched_off_at=Now()),
    "people_mail": lambda admin, **_: Delivery.objects.create(
        kind="notice", notice=Notice.objects.create(person=admin, cause="summary"),
        destination=mail_to(admin), attempts=1, last_attempt_at=Now(),
        last_error="The mail server cannot be used: 553 sender refused",
        next_attempt_at=Now() + timedelta(hours=1),
    ),
    "redis": lambda settings, **_: setattr(
        settings, "REDIS_URL", "redis://127.0.0.1:1/0"
    ),
    "read_only": lambda patch, **_: patch.setattr(checks, "is_read_only", lambda: True),
    "queue": lambda patch, **_: fill_queue(patch),
    "disk": lambda patch, **_: patch.setattr(
        "shutil.disk_usage", lambda path: (10 * 1024**3, 0, 1024**2)
    ),
    "clock": lambda patch, **_: patch.setattr(
        checks.time, "time", lambda: time.time_ns() / 1e9 - 3600
    ),
    "postgresql": lambda patch, **_: patch.setattr(
        checks, "OLDEST_POSTGRESQL", 990_000
    ),
    "idle_session": lambda patch, **_: patch.setattr(
        checks, "idle_sessions", lambda longer_than: [IdleSession(7, "desk", 90)]
    ),
    "collation": lambda patch, **_: patch.setattr(
        checks, "moved_collation", lambda: ("2.36", "2.41")
    ),
    "rights": lambda patch, **_: patch.setattr(
        checks, "lost_rights", lambda: ["mirror_message"]
    ),
    "versions": lambda **_: join_other_host(version="0.0.9"),
    "settings": lambda **_: join_other_host(settings={"DEMO": ["else"]}),
    "backup": lambda **_: Tick.objects.create(
        job=BACKUP, period=1, at=Now() - timedelta(days=8)
    ),
    "domain": lambda **_: cache.set(BAD_DOMAINS, [("acme.example", "No TXT record.")]),
    "public_url": lambda **_: cache.set(
        probes.ADDRESS, probes.OwnAddress("status 404, not from this desk")
    ),
    "certificate": lambda **_: cache.set(
        probes.ADDRESS,
        probes.OwnAddress(dates=(timezone.now() - timedelta(hours=1), timezone.now())),
    ),
    "seals_file": lambda **_: cache.set(probes.SEALS, [7, 8]),
    "kill_switch": lambda admin, **_: pull_switch(admin),
    "policy": lambda patch, **_: break_rules(patch),
    **{
        f"mail_{cause or 'untried'}": lambda cause=cause, **_: note_mail(cause)
        for cause in ("sign_in", "sender", "blocked", "quota", "unreachable", "other", "unknown", "")
    },
}  # fmt: skip


# The others are for --all: each runs all checks of the desk four times.
ORDINARY = ("guards",)


def test_every_kind_of_item_has_a_word_and_a_test():
    assert set(STUCK) == OF_THE_DESK | set(BROKEN)


def metrics(name):
    families = text_string_to_metric_families(exposition())
    [family] = [one for one in families if one.name == f"countersign_{name}"]
    return {one.labels["kind"]: one.value for one in family.samples}


@pytest.fixture(autouse=True)
def _no_backup_is_asked_for_in_the_demo(settings):
    settings.DEMO = "0"


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.slow] * (kind not in ORDINARY))
        for kind in BROKEN
    ],
)
def test_what_needs_an_operator_is_in_doctor_on_the_page_and_in_the_metrics(
    kind, working, admin, reviewer, signed_in, capsys, monkeypatch, settings, tmp_path
):
    checks._redis().delete(*checks.QUEUES)
    assert attention_for(actor_of(admin), timezone.now()) == []
    with rolled_back(), monkeypatch.context() as patch:
        BROKEN[kind](patch=patch, settings=settings, tmp_path=tmp_path, admin=admin)
        items = attention_for(actor_of(admin), timezone.now())
        assert {one.kind for one in items} == {kind}
        assert attention_count(actor_of(admin)) == len(items)
        assert all(one.advice for one in items)
        assert attention_for(actor_of(reviewer), timezone.now()) == []
        page = signed_in(admin).get("/attention/").text
        assert STUCK[kind][0] in page
        assert "Nothing needs attention" not in page
        numbers = metrics("needs_attention")
        ages = metrics("needs_attention_oldest_seconds")
        assert set(numbers) == set(ages) == set(STUCK)
        assert {name for name, number in numbers.items() if number} == {kind}
        assert bool(ages[kind]) == bool(items[0].since)
        with pytest.raises(SystemExit) as ended:
            call_command("doctor")
        assert ended.value.code == 2
        output = capsys.readouterr().out
        assert items[0].what.rstrip(".") in output
        assert items[0].advice in output


BY_HAND = {
    "function audit_refuse": """
        CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'""",
    "trigger audit_entry_rows on audit_entry": "DROP TRIGGER audit_entry_rows ON audit_entry",
    "trigger audit_seal_rows on audit_seal": "ALTER TABLE audit_seal DISABLE TRIGGER audit_seal_rows",
    "trigger quiet on approvals_verdict": """
        CREATE FUNCTION hide() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE TRIGGER quiet BEFORE INSERT ON approvals_verdict FOR EACH ROW EXECUTE FUNCTION hide()""",
    "rule quiet on audit_entry": "CREATE RULE quiet AS ON INSERT TO audit_entry DO INSTEAD NOTHING",
    "constraints of approvals": "ALTER TABLE approvals_verdict DROP CONSTRAINT approvals_verdict_pkey CASCADE",
    "grant on audit_entry to pg_monitor": "GRANT UPDATE ON audit_entry TO pg_monitor",
    "row security on audit_entry": "ALTER TABLE audit_entry ENABLE ROW LEVEL SECURITY",
}


@pytest.mark.django_db
def test_what_the_migrations_made_in_the_database_is_known_and_each_change_is_named():
    made = made_in_schema(APPEND_ONLY)
    assert {
        n: d for n, d in made.items() if n in guards.MADE or "constraints" not in n
    } == guards.MADE
    for name, statement in BY_HAND.items():
        with rolled_back():
            sql(statement)
            assert name in guards.differences()
    assert guards.differences() == []


def test_two_desks_in_one_redis_are_told(working):
    key = f"{checks._PROBE}:another"
    checks._redis().set(key, "")
    for _ in range(2):
        [item] = [one for one in checks._redis_server() if one.needs_action]
        assert item.what.startswith("Another Countersign uses this Redis: ")
    # It is no reason to send nobody here.
    assert checks.redis_works()
    checks._redis().delete(key)
    assert all(not one.needs_action for one in checks._redis_server())


def test_page_is_there_while_the_database_is_read_only_and_notes_expire(
    working, admin, signed_in
):
    client = signed_in(admin)
    # To read one that has expired deletes it.
    cache.set(probes.SEALS, [7], -1)
    with rolled_back():
        sql("SET LOCAL transaction_read_only = on")
        session = client.session
        session["used"] = True
        session.save()
        page = client.get("/attention/")
    assert page.status_code == 200
    assert "PostgreSQL takes no changes" in page.text


@pytest.mark.parametrize("kind", ["redis", "read_only"])
def test_whoever_is_no_operator_reads_that_the_desk_stands_still_and_no_more(
    kind, working, admin, reviewer, signed_in, settings, monkeypatch
):
    client = signed_in(reviewer)
    with monkeypatch.context() as patch:
        BROKEN[kind](patch=patch, settings=settings)
        [item] = [one for one in checks.examine() if one.kind == kind]
        page = client.get("/attention/").text
    assert item.what in page
    assert "Tell the operator of this desk" in page
    assert item.why not in page
    assert "127.0.0.1" not in page


def test_mail_that_waits_is_told_with_since_when_oldest_next_try_and_answer(
    working, admin, capsys
):
    note_mail("sign_in")
    assert metrics("needs_attention")["mail_sign_in"] == 12
    assert metrics("needs_attention_oldest_seconds")["mail_sign_in"] >= 7200
    with pytest.raises(SystemExit):
        call_command("doctor")
    output = capsys.readouterr().out
    for words in (
        "12 messages cannot be sent: the mail server refuses the sign-in",
        "(2 h ago)",
        "It answered: The server's words.",
        "The oldest is 01HX; the next try is at ",
        "./run manage send_again",
    ):
        assert words in output, words


def test_next_try_is_never_in_the_past(working):
    note_mail("")
    [waiting] = checks._noted()
    assert waiting.why == "The oldest is 01HX. It answered: The server's words."


def test_desk_without_a_backup_is_told_once_it_is_a_week_old(
    working, admin, settings, monkeypatch
):
    def kinds():
        return [one.kind for one in attention_for(actor_of(admin), timezone.now())]

    record("backup.made", actor=operator("backup"), details={"file": "x"})
    assert kinds() == []
    # A clock eight days later, because entries cannot be changed.
    later = timezone.now() + timedelta(days=8)
    with monkeypatch.context() as patch:
        patch.setattr(checks, "clock", lambda: later)
        [item] = checks._backups()
        assert item.what == "No backup was ever made"
        Tick.objects.create(job=BACKUP, period=2, at=later)
        assert list(checks._backups()) == []
        Tick.objects.all().delete()
        for name, value in (("DEMO", "1"), ("DEMO", "quiet"), ("BACKUP_DAYS", 0)):
            with rolled_back():
                setattr(settings, name, value)
                assert list(checks._backups()) == [], name
                settings.DEMO = "0"
