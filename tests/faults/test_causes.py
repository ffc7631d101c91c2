"""Faults made for real, one after the other: what doctor, Needs attention, readiness and
metrics say of each, after how many seconds, and that it ends once the fault is mended.

Each window makes faults of which none hides another, waits until all are named, mends
them, and waits until nothing needs attention. The table of what was said is printed at
the end, and written to causes.md in the run's temporary folder.
"""

import base64
import contextlib
import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import requests

from tests.desk import Browser
from tests.faults.causes import SENDER, CausesDesk, Channels, causes_desk
from tests.faults.wire import Gate, answering
from tests.stack import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("causes")]

# After so many seconds a test gives up.
PATIENCE = 300
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/126.0.0.0"
SAFARI = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 Safari/605.1.15"
)


@dataclass(frozen=True)
class Fault:
    """A fault, how it is made and mended, and what must be said of it.

    `kind` is its kind in the metrics, `parts` are the parts that readiness calls
    missing, and `says` are words of doctor, on one line, and of the page. Where the
    desk has no database, metrics and the page say that only.
    """

    name: str
    make: Callable[[CausesDesk], AbstractContextManager[object]]
    says: str
    kind: str = ""
    parts: tuple[str, ...] = ()
    # What the page says instead; whether it and metrics say anything.
    page: str = ""
    is_on_page: bool = True
    # Of the doctor, or more if another fault of the window asks for it.
    status: int = 2
    # What was done so that it did not take longer.
    note: str = ""


def is_said(desk, fault, kinds, missing):
    """Whether metrics and readiness say what they must."""
    if missing is None or not set(fault.parts) <= set(missing):
        return False
    if fault.status == 3:
        return kinds is None
    return kinds is not None and (not fault.kind or fault.kind in kinds)


# PostgreSQL


@contextlib.contextmanager
def stopped_database(desk):
    desk.postgres.stop()
    try:
        yield
    finally:
        desk.postgres.start()


@contextlib.contextmanager
def frozen_database(desk):
    frozen = [
        int(entry.name)
        for entry in Path("/proc").glob("[0-9]*")
        if _is_postgres(entry, desk.postgres.data)
    ]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


def _is_postgres(entry, data):
    with contextlib.suppress(OSError):
        name = (entry / "comm").read_text().strip()
        return name == "postgres" and (entry / "cwd").readlink() == data
    return False


@contextlib.contextmanager
def read_only_database(desk):
    desk.sql("ALTER DATABASE countersign SET default_transaction_read_only = on")
    desk.end_sessions()
    try:
        yield
    finally:
        desk.sql("ALTER DATABASE countersign RESET default_transaction_read_only")
        desk.end_sessions()


@contextlib.contextmanager
def no_slots(desk):
    with ExitStack() as sessions:
        mine = []

        def fill():
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    session = psycopg.connect(desk.env["DATABASE_URL"])
                    mine.append(sessions.enter_context(session).info.backend_pid)

        def only_mine():
            fill()
            ended = desk.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'countersign' AND NOT pid = ANY(%s)",
                mine,
            )
            return not ended

        wait_for(only_mine, 60, "all slots to be taken")
        yield


@contextlib.contextmanager
def wrong_password(desk):
    file = desk.postgres.data / "pg_hba.conf"
    before = file.read_text()
    desk.sql("ALTER ROLE countersign PASSWORD 'another-password'")
    file.write_text(f"local all countersign scram-sha-256\n{before}")
    desk.sql("SELECT pg_reload_conf()")
    wait_for(lambda: _is_refused(desk), 30, "the password to be asked for")
    desk.end_sessions()
    try:
        yield
    finally:
        file.write_text(before)
        desk.sql("SELECT pg_reload_conf()")


def _is_refused(desk):
    try:
        psycopg.connect(desk.env["DATABASE_URL"]).close()
    except psycopg.OperationalError:
        return True
    return False


def statements(make, mend):
    """Return a fault that is made by one statement of the tables' owner, and mended by
    another.
    """

    @contextlib.contextmanager
    def fault(desk):
        desk.sql(make)
        try:
            yield
        finally:
            desk.sql(mend)

    return fault


@contextlib.contextmanager
def pending_migration(desk):
    [row] = desk.sql(
        "DELETE FROM django_migrations WHERE id IN (SELECT max(id) FROM django_migrations) RETURNING *"
    )
    try:
        yield
    finally:
        desk.sql(
            "INSERT INTO django_migrations OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, %s)",
            *row.values(),
        )


@contextlib.contextmanager
def dropped_trigger(desk):
    [row] = desk.sql(
        "SELECT pg_get_triggerdef(oid) AS text FROM pg_trigger WHERE tgname = 'audit_entry_rows'"
    )
    desk.sql("DROP TRIGGER audit_entry_rows ON audit_entry")
    try:
        yield
    finally:
        desk.sql(row["text"])


@contextlib.contextmanager
def idle_transaction(desk):
    with psycopg.connect(desk.env["DATABASE_URL"], autocommit=True) as session:
        session.execute("SET idle_in_transaction_session_timeout = 0")
        session.execute("BEGIN")
        yield
        session.execute("ROLLBACK")


@contextlib.contextmanager
def wrong_clock(desk):
    desk.clock.step(30)
    try:
        yield
    finally:
        desk.clock.step(0)


# Redis


@contextlib.contextmanager
def stopped_redis(desk):
    desk.redis.stop()
    try:
        yield
    finally:
        desk.redis.start()


def redis_commands(make, mend):
    """Return a fault that is made by one command of Redis, and mended by another."""

    @contextlib.contextmanager
    def fault(desk):
        with desk.redis_client as client:
            client.execute_command(*make.split(" "))
            for kind in ("normal", "pubsub"):
                client.client_kill_filter(_type=kind, skipme=True)
            try:
                yield
            finally:
                client.execute_command(*mend.split(" "))

    return fault


@contextlib.contextmanager
def long_queue(desk):
    with desk.redis_client as client:
        # No worker takes these.
        client.rpush("gateway", *["{}"] * 1001)
        try:
            yield
        finally:
            client.ltrim("gateway", 1001, -1)


# Processes


def stopped_process(name):
    """Return the fault that a process ended and nobody starts it."""

    @contextlib.contextmanager
    def fault(desk):
        desk.down.add(name)
        desk.started[name].terminate()
        desk.started[name].wait(30)
        try:
            yield
        finally:
            desk.down.remove(name)
            desk.start(name)

    return fault


@contextlib.contextmanager
def frozen_worker(desk):
    desk.started["worker-desk"].send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        desk.started["worker-desk"].send_signal(signal.SIGCONT)


# Accounts of MultiMail


def account(name, fault):
    """Return a fault of all calls of an account of hosted MultiMail."""
    return lambda desk: desk.accounts[name].fault(fault, kind="")


@contextlib.contextmanager
def hanging_account(desk):
    gate = Gate()
    with desk.accounts["Hanging"].fault(gate, kind=""):
        try:
            yield
        finally:
            gate.open()


@contextlib.contextmanager
def unsigned_webhook(desk):
    answer = requests.post(
        desk.product.known["WEBHOOK_URL"],
        data=b"{}",
        headers={
            "Content-Type": "application/json",
            "X-MultiMail-Signature": "t=1,v1=00",
        },
        timeout=30,
    )
    assert answer.status_code == 401
    yield
    # It would be said for a day.
    with desk.redis_client as client:
        client.delete(*client.keys("countersign:unsigned-in:*"))


# Mail


def approved(desk, **fields):
    """Have a message approved, and return its id at the gateway."""
    upstream_id, _ = desk.product.send(**fields)
    desk.ana.approve(desk.product.held(desk.ana, upstream_id))
    return upstream_id


def refused(desk, **fields):
    """Have a message approved that the mail server does not take, and let ten minutes
    pass.
    """
    upstream_id = approved(desk, **fields)
    tried = "SELECT 1 FROM gateway_email WHERE id = %s AND status = 'scheduled' AND last_error > ''"
    desk.wait_for(
        lambda: desk.sql(tried, upstream_id), 90, "the mail server to be asked"
    )
    desk.sql(
        "UPDATE gateway_email SET created_at = created_at - interval '11 minutes',"
        " decided_at = decided_at - interval '11 minutes' WHERE id = %s",
        upstream_id,
    )


def refused_recipient(address, reply):
    """Return the fault that the mail server refuses mail to an address."""

    @contextlib.contextmanager
    def fault(desk):
        desk.mail.recipients[address] = reply
        refused(desk, to=address)
        try:
            yield
        finally:
            del desk.mail.recipients[address]
            send_again(desk)

    return fault


def send_again(desk):
    assert desk.run("manage", "send_again").returncode == 0


@contextlib.contextmanager
def refused_sender(desk):
    desk.mail.senders[desk.product.known["MAILBOX2_ADDRESS"]] = (
        "550 5.7.60 Client does not have permissions to send as this sender"
    )
    refused(
        desk,
        to="dana@northwind.example",
        **{"from": desk.product.known["MAILBOX2_ADDRESS"]},
    )
    try:
        yield
    finally:
        desk.mail.senders.clear()
        send_again(desk)


@contextlib.contextmanager
def stopped_mail_server(desk):
    desk.mail.stop()
    refused(desk, to="dana@northwind.example")
    try:
        yield
    finally:
        desk.mail.start()
        send_again(desk)


@contextlib.contextmanager
def refused_sign_in(desk):
    before, desk.mail.password = desk.mail.password, b"another"
    refused(desk, to="dana@northwind.example")
    try:
        yield
    finally:
        desk.mail.password = before
        send_again(desk)


def sign_in_elsewhere(desk, prefix, *agents):
    """Have somebody sign in with browsers that they did not have yet, of which they are
    told by mail.
    """
    for agent in agents:
        session = requests.Session()
        session.headers["User-Agent"] = agent
        email, password = (
            desk.product.known[f"{prefix}_{name}"] for name in ("EMAIL", "PASSWORD")
        )
        Browser(desk.url, email, password, session=session)


@contextlib.contextmanager
def refused_desk(desk):
    desk.mail.senders[SENDER] = "553 5.7.1 Sender address rejected: not owned by user"
    sign_in_elsewhere(desk, "AUDITOR", FIREFOX, CHROME)
    try:
        yield
    finally:
        del desk.mail.senders[SENDER]
        desk.sql(
            "UPDATE alerts_delivery SET next_attempt_at = now() WHERE state = 'due'"
        )
        desk.sql("UPDATE alerts_destination SET waits_until = NULL")


@contextlib.contextmanager
def refused_person(desk):
    address = desk.product.known["REVIEWER2_EMAIL"]
    desk.mail.recipients[address] = "550 5.1.1 No such user"
    sign_in_elsewhere(desk, "REVIEWER2", FIREFOX, CHROME)
    try:
        yield
    finally:
        del desk.mail.recipients[address]
        desk.sql("UPDATE alerts_destination SET switched_off_at = NULL")
        sign_in_elsewhere(desk, "REVIEWER2", SAFARI)


@contextlib.contextmanager
def gone_channel(desk):
    Channels.is_gone = True
    approved(desk, to="dana@northwind.example")
    try:
        yield
    finally:
        Channels.is_gone = False
        desk.sql("UPDATE alerts_destination SET switched_off_at = NULL")


# People


@contextlib.contextmanager
def kill_switch(desk):
    page = desk.ida.get("/stop/")
    pulled = desk.ida.post(
        "/stop/pull/", page, scope="all", reason="The agent writes nonsense."
    )
    assert pulled.status_code == 302, pulled.status_code
    try:
        yield
    finally:
        desk.sql("UPDATE policy_killswitch SET released_at = now()")


# The ledger


@contextlib.contextmanager
def altered_ledger(desk):
    [row] = desk.sql("SELECT id, actor_id FROM audit_entry ORDER BY id LIMIT 1")
    change = (
        "SET session_replication_role = replica; "
        "UPDATE audit_entry SET actor_id = '{}' WHERE id = {}"
    )
    desk.sql(change.format("999", row["id"]))
    ask_for_check(desk)
    try:
        yield
    finally:
        desk.sql(change.format(row["actor_id"], row["id"]))
        ask_for_check(desk)


def ask_for_check(desk):
    page = desk.ida.get("/audit/verify/")
    desk.ida.post("/audit/verify/check/", page)


@contextlib.contextmanager
def lost_line(desk):
    file = Path(desk.env["DATA_DIR"], "seals.jsonl")
    before = file.read_text()
    lines = before.splitlines(keepends=True)
    file.write_text("".join(lines[:1] + lines[2:]))
    try:
        yield
    finally:
        # Others may have been added.
        added = file.read_text().splitlines(keepends=True)[len(lines) - 1 :]
        file.write_text(before + "".join(added))


@contextlib.contextmanager
def silent_webhook(desk):
    """Have the gateway deliver no webhook, and let a message be held for five minutes."""
    own = "url LIKE '%/webhooks/multimail/%'"
    desk.sql(
        f"UPDATE gateway_webhook SET url = 'http://127.0.0.1:1' || substring(url FROM '/webhooks.*') WHERE {own}"
    )
    upstream_id, _ = desk.product.send()
    find = f"SELECT 1 FROM mirror_message WHERE upstream_id = '{upstream_id}'"
    desk.wait_for(lambda: desk.sql(find), 90, "a read to find it")
    desk.sql("UPDATE mirror_webhookevent SET received_at = now() - interval '1 hour'")
    # The demo registers none.
    desk.sql(
        "UPDATE mirror_connection SET webhook_since = now() - interval '1 hour' WHERE name = 'Demo gateway'"
    )
    desk.sql(
        f"UPDATE mirror_message SET held_at = now() - interval '5 minutes' WHERE upstream_id = '{upstream_id}'"
    )
    try:
        yield
    finally:
        url = desk.product.known["WEBHOOK_URL"]
        desk.sql(f"UPDATE gateway_webhook SET url = '{url}' WHERE {own}")
        desk.product.send()


@contextlib.contextmanager
def unwritable_seals(desk):
    file = Path(desk.env["DATA_DIR"], "seals.jsonl")
    away = file.with_name("seals.away")
    file.rename(away)
    # Root can write to any file, but to no folder.
    file.mkdir()
    try:
        yield
    finally:
        file.rmdir()
        away.rename(file)


# The disk


def filled_disk(free):
    """Return the fault that so many megabytes are free on the disk."""

    @contextlib.contextmanager
    def fault(desk):
        filler = Path(desk.disk, "filler")
        status = os.statvfs(desk.disk)
        size = status.f_bavail * status.f_frsize - free * 1024**2
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        try:
            yield
        finally:
            filler.unlink()

    return fault


@contextlib.contextmanager
def other_seal_key(desk):
    key = base64.urlsafe_b64encode(bytes(32)).decode()
    desk.env["SEAL_KEY"] = key
    restart(desk, "web", "worker-desk")
    try:
        yield
    finally:
        del desk.env["SEAL_KEY"]
        restart(desk, "web", "worker-desk")
        # The daily check may have come meanwhile.
        ask_for_check(desk)


def restart(desk, *names):
    for name in names:
        desk.started[name].terminate()
        desk.started[name].wait(30)
        desk.start(name)
    for name in names:
        desk.wait_for(lambda name=name: desk.is_up(name), 60, f"{name} to answer")


@contextlib.contextmanager
def lost_answer(desk):
    desk.mail.silent.add("silent@northwind.example")
    approved(desk, to="silent@northwind.example")
    try:
        yield
    finally:
        desk.mail.silent.clear()
        # As after a delivery report.
        desk.sql("UPDATE gateway_email SET fate_unknown = false")


@contextlib.contextmanager
def message_without_parser(desk):
    with stopped_process("parser")(desk):
        upstream_id, _ = desk.product.send()
        yield
    read = "SELECT 1 FROM mirror_message WHERE upstream_id = %s AND revision_id > 0"
    desk.wait_for(lambda: desk.sql(read, upstream_id), PATIENCE, "it to be read")


@contextlib.contextmanager
def unsatisfiable_policy(desk):
    activate(desk, FIVE_APPROVALS)
    try:
        yield
    finally:
        activate(desk, "[]")


def activate(desk, rules):
    """Activate a new version of the policy, with these rules."""
    desk.sql("UPDATE policy_policyversion SET state = 'retired' WHERE state = 'active'")
    desk.sql(
        "INSERT INTO policy_policyversion (number, state, rules, passes, signatures, note, author_id,"
        " activated_by_id, activated_at) SELECT (SELECT count(*) + 1 FROM policy_policyversion),"
        " 'active', %s::jsonb, '[]', '{}', '', id, id, now() FROM people_person WHERE email LIKE 'ida@%%'",
        rules,
    )


FIVE_APPROVALS = """
[{"id": "five", "name": "Five eyes", "when": {"high_risk": true}, "then": {"approvals": {"0": 5}}}]
"""
OLD_BACKUP = (
    "INSERT INTO dashboard_tick (job, period, at) VALUES ('backup', 1, now() - interval '9 days')",
    "DELETE FROM dashboard_tick WHERE job = 'backup'",
)
OTHER_HOST = (
    "INSERT INTO dashboard_host (name, version, settings) SELECT 'second', '0.9.0', settings FROM dashboard_host",
    "DELETE FROM dashboard_host WHERE name = 'second'",
)
RULE = (
    "CREATE RULE no_people AS ON INSERT TO people_person WHERE new.email = 'nobody' DO INSTEAD NOTHING",
    "DROP RULE no_people ON people_person",
)
LATER_MIGRATION = (
    "INSERT INTO django_migrations (app, name, applied) VALUES ('dashboard', '9999_later', now())",
    "DELETE FROM django_migrations WHERE name = '9999_later'",
)
NO_PAGE = "The database is not responding"
POSTGRESQL = ("postgresql",)
REDIS = ("redis",)
AGED = "the mail's time was set back by 11 minutes"
QUOTA = refused_recipient(
    "quota@northwind.example", "452 4.2.2 Daily sending quota exceeded"
)
BLOCKED = refused_recipient(
    "blocked@northwind.example", "550 5.7.1 Message blocked by policy"
)
RESET = "CONFIG SET maxmemory 0"


def no_database(name, make, why):
    """Return a fault with which there is no database."""
    return Fault(name, make, why, page=NO_PAGE, parts=POSTGRESQL, status=3)


def no_redis(name, make, says):
    """Return a fault of Redis."""
    return Fault(name, make, says, "redis", REDIS)


WINDOWS = {
    "database-stopped": [
        no_database("PostgreSQL stopped", stopped_database, "connection is bad")
    ],
    "database-frozen": [
        no_database(
            "PostgreSQL frozen (SIGSTOP)",
            frozen_database,
            "PostgreSQL is not responding",
        )
    ],
    "database-read-only": [
        Fault(
            "PostgreSQL read-only",
            read_only_database,
            "PostgreSQL takes no changes",
            "read_only",
            POSTGRESQL,
        )
    ],
    "database-full-of-sessions": [
        no_database("PostgreSQL without slots", no_slots, "connection failed")
    ],
    "database-password": [
        no_database(
            "wrong password in DATABASE_URL", wrong_password, "connection failed"
        )
    ],
    "migration-missing": [
        Fault(
            "a migration is pending",
            pending_migration,
            "1 migrations have not been applied",
            is_on_page=False,
        )
    ],
    "migration-unknown": [
        Fault(
            "the data are of a newer version",
            statements(*LATER_MIGRATION),
            "The database was used by a newer Countersign",
            is_on_page=False,
        )
    ],
    "redis-stopped": [
        no_redis("Redis stopped", stopped_redis, "Redis is not responding")
    ],
    "redis-full": [
        no_redis(
            "Redis full",
            redis_commands("CONFIG SET maxmemory 1", RESET),
            "Redis stores nothing",
        )
    ],
    "redis-replica": [
        no_redis(
            "Redis a replica",
            redis_commands("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
            "Redis stores nothing",
        )
    ],
    "redis-password": [
        no_redis(
            "Redis asks for a password",
            redis_commands("CONFIG SET requirepass another", "CONFIG SET requirepass "),
            "Redis",
        )
    ],
    "redis-rights": [
        no_redis(
            "Redis user without SET",
            redis_commands("ACL SETUSER default -set", "ACL SETUSER default +set"),
            "Redis lets the desk store nothing",
        )
    ],
    "rights": [
        Fault(
            "a right on a table is lost",
            statements(
                "REVOKE UPDATE ON mirror_message FROM countersign",
                "GRANT UPDATE ON mirror_message TO countersign",
            ),
            "may not read or change: mirror_message",
            "rights",
            POSTGRESQL,
        )
    ],
    "records": [
        Fault(
            "another role may change the ledger",
            statements(
                "GRANT UPDATE ON audit_entry TO pg_monitor",
                "REVOKE UPDATE ON audit_entry FROM pg_monitor",
            ),
            "grant on audit_entry to pg_monitor",
            "guards",
        ),
        Fault(
            "two desks in one Redis",
            redis_commands("SET countersign:probe:x 1", "DEL countersign:probe:x"),
            "Another Countersign uses this Redis",
            "redis",
        ),
        Fault(
            "a line is gone from the seals' file",
            lost_line,
            "The seals' file lacks 1 of the newest seals",
            "seals_file",
        ),
        Fault(
            "a trigger of the ledger dropped",
            dropped_trigger,
            "trigger audit_entry_rows on audit_entry",
            "guards",
        ),
        Fault(
            "a rule on a table",
            statements(*RULE),
            "rule no_people on people_person",
            "guards",
        ),
        Fault(
            "no backup for 9 days",
            statements(*OLD_BACKUP),
            "The newest backup is old",
            "backup",
        ),
        Fault(
            "another host with another version",
            statements(*OTHER_HOST),
            "The host second (0.9.0) runs another version",
            "versions",
        ),
        Fault(
            "Redis evicts",
            redis_commands(
                "CONFIG SET maxmemory-policy allkeys-lru",
                "CONFIG SET maxmemory-policy noeviction",
            ),
            "Redis discards data when it is full",
            is_on_page=False,
        ),
        Fault(
            "a rule that nobody can satisfy",
            unsatisfiable_policy,
            "Five eyes",
            "policy",
        ),
        Fault(
            "a person's address refused",
            refused_person,
            "Mail to Ben Okafor came back",
            "bounced",
        ),
        Fault("a channel is gone (404)", gone_channel, "Alerts to", "destination"),
        Fault(
            "kill switch",
            kill_switch,
            "Ida Lindqvist pulled the kill switch",
            "kill_switch",
        ),
        Fault(
            "clock 30 s ahead",
            wrong_clock,
            "The clock of this host is 30 s ahead",
            "clock",
        ),
    ],
    "disk-nearly-full": [
        Fault(
            "disk nearly full",
            filled_disk(18),
            "The disk of DATA_DIR is nearly full",
            "disk",
        )
    ],
    "disk-full": [
        Fault(
            "disk full",
            filled_disk(8),
            "The disk of DATA_DIR is full",
            "disk",
            ("disk",),
        )
    ],
    "seal-key": [
        Fault("another SEAL_KEY", other_seal_key, "The ledger", "ledger_stopped")
    ],
    "ledger": [
        Fault(
            "a row of the ledger altered",
            altered_ledger,
            "The ledger failed verification",
            "ledger_broken",
        ),
        Fault(
            "mail server answers nothing to the message",
            lost_answer,
            "1 message may not have been sent: the mail server's answer was lost",
            "mail_unknown",
        ),
    ],
    "workers": [
        Fault(
            "more than 1,000 tasks wait",
            long_queue,
            "tasks are waiting in the queue gateway",
            "queue",
        ),
        Fault(
            "a message comes without a parser",
            message_without_parser,
            "is not read yet",
            "unread",
        ),
        Fault(
            "parser stopped",
            contextlib.nullcontext,
            "The parser is not running",
            "parser",
            ("parser",),
        ),
        Fault(
            "gateway's worker stopped",
            stopped_process("worker-out"),
            "Mail is not sent",
            "worker",
            ("beat and worker",),
        ),
    ],
    "desk-worker": [
        Fault(
            "desk's worker frozen (SIGSTOP)",
            frozen_worker,
            "Decisions are not carried out, and MultiMail is not read",
            "worker",
            ("beat and worker",),
        ),
        Fault(
            "alerts are not sent",
            contextlib.nullcontext,
            "Alerts are not sent",
            "worker",
        ),
    ],
    "webhooks": [
        Fault(
            "webhooks do not come",
            silent_webhook,
            "does not come: held mail appears",
            "silent_webhook",
            note="times were set back by five minutes",
        ),
    ],
    "mail-sign-in": [
        Fault(
            "mail server refuses the sign-in",
            refused_sign_in,
            "the mail server refuses the sign-in",
            "mail_sign_in",
            note=AGED,
        ),
    ],
    "mail-server": [
        Fault(
            "mail server stopped",
            stopped_mail_server,
            "the mail server does not answer",
            "mail_unreachable",
            note=AGED,
        ),
    ],
    "slow": [
        Fault(
            "mail server: quota",
            QUOTA,
            "the quota of the mail server is used up",
            "mail_quota",
            note=AGED,
        ),
        Fault(
            "mail server: blocked",
            BLOCKED,
            "the mail server blocks them",
            "mail_blocked",
            note=AGED,
        ),
        Fault(
            "mail server refuses a sender",
            refused_sender,
            "the mail server refuses the sender",
            "mail_sender",
            note=AGED,
        ),
        Fault(
            "mail server refuses the desk's EMAIL_FROM",
            refused_desk,
            "The last mail to people was not sent",
            "people_mail",
        ),
        Fault(
            "webhook with a wrong secret",
            unsigned_webhook,
            "had no valid signature in the last day",
            "unsigned",
        ),
        Fault(
            "idle transaction",
            idle_transaction,
            "keeps a transaction open while idle",
            "idle_session",
        ),
        Fault(
            "seals' file cannot be written",
            unwritable_seals,
            "are not in the seals' file",
            "ledger",
        ),
        Fault(
            "gateway stopped",
            stopped_process("gateway"),
            "Demo gateway cannot be read reliably",
            "connection",
        ),
        Fault(
            "hosted MultiMail answers 500",
            account("Failing", answering(500)),
            "Failing cannot be read reliably",
            "connection",
        ),
        Fault(
            "hosted MultiMail answers 429",
            account("Limiting", answering(429, Retry_After="40")),
            "Limiting cannot be read reliably",
            "connection",
        ),
        Fault(
            "hosted MultiMail hangs",
            hanging_account,
            "Hanging cannot be read reliably",
            "connection",
        ),
        Fault(
            "oversight key revoked",
            account("Revoked", answering(401)),
            "Revoked is paused",
            "connection",
        ),
    ],
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    with causes_desk(tmp_path_factory.mktemp("causes")) as desk:
        yield desk


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rows = []
    yield rows
    lines = [
        "| fault | said after | metrics | readyz | doctor | ended after | note |",
        "|---" * 7 + "|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    text = "\n".join(lines)
    (tmp_path_factory.getbasetemp() / "causes.md").write_text(text + "\n")
    print(f"\n{text}")


@pytest.mark.parametrize("window", WINDOWS)
def test_each_fault_is_named_with_its_cause_and_ends_with_it(desk, table, window):
    watch_window(desk, table, WINDOWS[window])


def watch_window(desk, table, faults):
    begun = {}
    said = {}
    with ExitStack() as made:
        for fault in faults:
            made.enter_context(fault.make(desk))
            begun[fault] = time.monotonic()

        def all_are_said():
            desk.supervise()
            kinds, missing = desk.kinds(), desk.missing()
            for fault in faults:
                if fault not in said and is_said(desk, fault, kinds, missing):
                    said[fault] = time.monotonic() - begun[fault]
            silent = [fault.name for fault in faults if fault not in said]
            assert not silent, f"{silent} beside {kinds}, {missing}"
            return True

        desk.wait_for(all_are_said, PATIENCE, "every fault to be said")
        status, listed = desk.doctor()
        page = desk.page()
        needs = [fault.status for fault in faults]
        assert status == max(needs), listed
        sentences = {
            fault: next((one for one in listed if fault.says in one), "")
            for fault in faults
        }
        for fault in faults:
            assert sentences[fault], f"{fault.name}: {listed}"
            if fault.is_on_page:
                assert (fault.page or fault.says) in page, page
    mended = time.monotonic()
    desk.wait_for(desk.is_well, PATIENCE, "nothing to need attention")
    ended = time.monotonic() - mended
    for fault in faults:
        parts = ", ".join(fault.parts) or "-"
        row = (
            fault.name,
            f"{said[fault]:.1f} s",
            fault.kind or "-",
            parts,
            sentences[fault],
        )
        table.append((*row, f"{ended:.1f} s", fault.note))
