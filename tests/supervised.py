"""Runs the product's processes as systemd or a container's runtime does, beside servers
that are not ours.
"""

import contextlib
import os
import subprocess
from email import message_from_bytes
from pathlib import Path

import psycopg
from aiosmtpd.controller import Controller

from common.credentials import read_credentials
from launcher import environment
from launcher.environment import PORTS, pick_free_ports
from launcher.paths import ROOT
from launcher.postgres import OWNER, Postgres, Redis
from tests.commands import run_command
from tests.stack import wait_for

# Files of this machine, so that packages can be fetched from another root.
OF_THE_MACHINE = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
NAMES = ("parser", "web", "live", "worker-desk", "gateway", "worker-out")


class _Inbox:
    def __init__(self):
        self.subjects = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        mail = message_from_bytes(envelope.content)
        # But what the desk writes to its people, such as the summary at eight.
        if mail["Auto-Submitted"] is None:
            self.subjects.append(mail["Subject"])
        return "250 OK"


@contextlib.contextmanager
def mail_server(port, host="127.0.0.1"):
    """Take mail in; yield the list of the subjects of what arrived."""
    inbox = _Inbox()
    controller = Controller(inbox, hostname=host, port=int(port))
    controller.start()
    try:
        yield inbox.subjects
    finally:
        controller.stop()


class Supervised:
    """Starts processes as systemd or a container's runtime does."""

    def __init__(self, folder):
        self.folder = folder
        self.started = {}
        self.postgres = Postgres(folder, durable=False)
        self.redis = Redis(folder, durable=False)
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in environment.PRODUCT_VARIABLES
            and not name.startswith("DJANGO_")
        }
        ports = map(str, pick_free_ports(len(PORTS)))
        self.env = {
            **inherited,
            **dict(zip(PORTS, ports, strict=True)),
            "DATA_DIR": str(folder / "data"),
            "DATABASE_URL": self.postgres.url(),
            "DATABASE_OWNER_URL": self.postgres.url(OWNER),
            "REDIS_URL": self.redis.url(),
            "DEMO": "0",
        }

    @property
    def credentials(self):
        """Those of the demo, if `prepare` made it."""
        return read_credentials(Path(self.env["DATA_DIR"]) / "credentials.env")

    def wait_for(self, function, timeout, what):
        return wait_for(function, timeout, what, report=self.report)

    def report(self):
        """The ends of what the processes printed."""
        return "\n".join(
            f"--- {file.name}\n{file.read_text(errors='replace')[-1500:]}"
            for file in sorted(self.folder.glob("*.out"))
        )

    def run(self, *arguments, root=ROOT, **variables):
        """Run `./run` of this clone, or of another, to its end; return the completed
        process.
        """
        return run_command([str(root / "run"), *arguments], env=self.env | variables)

    def ask(self, query):
        """Return the first column of the first row, asked as the tables' owner."""
        with psycopg.connect(self.env["DATABASE_OWNER_URL"]) as session:
            return session.execute(query).fetchone()[0]

    def start(self, name, root=ROOT, **variables):
        """Start one process of this clone, or of another."""
        self.started[name] = subprocess.Popen(
            [str(root / "run"), "process", name],
            env=self.env | variables,
            stdout=(self.folder / f"{name}.out").open("wb"),
            stderr=subprocess.STDOUT,
        )

    def is_healthy(self, name, root=ROOT):
        return self.run("healthy", name, root=root).returncode == 0

    def stop_processes(self):
        for process in self.started.values():
            process.terminate()
        statuses = {name: one.wait(30) for name, one in self.started.items()}
        self.started.clear()
        return statuses

    def stop(self):
        statuses = self.stop_processes()
        self.redis.stop()
        self.postgres.stop()
        return statuses


@contextlib.contextmanager
def supervised_in(folder):
    """Run servers in `folder` until the block ends; yield a `Supervised`."""
    supervised = Supervised(folder)
    try:
        supervised.postgres.start()
        supervised.redis.start()
        yield supervised
    finally:
        supervised.stop()
