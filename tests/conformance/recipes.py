"""Runs the programs in docs/recipes, unchanged and with only the documented environment
variables. Also what their tests do around them, such as writing to a mailbox.
"""

import contextlib
import fcntl
import os
import shutil
import smtplib
import subprocess
import sys
from email.message import EmailMessage

import pytest

from launcher.orphans import die_with_parent
from launcher.paths import ROOT
from tests.commands import run_command

RECIPES = ROOT / "docs" / "recipes"
# Variables of a developer's shell; no other variable of the test may help a program.
_SHELL = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"}


def environment(product, *names, **more):
    """Return the named variables of the credentials file, and others."""
    return {
        **_SHELL,
        **{name: product.known[name] for name in ("GATEWAY_URL", *names)},
        **more,
    }


def run(name, *arguments, env):
    """Run a program to its end."""
    return run_command([sys.executable, str(RECIPES / name), *arguments], env=env)


def install(folder, wanted, *commands):
    """Run these commands in `folder` to install packages, unless they are installed:
    `wanted` says which. Skip the test if that fails, as without a network.
    """
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "installed"
        if done.exists() and done.read_text() == wanted:
            return
        for command in commands:
            ran = run_command(["timeout", "600", *command], cwd=folder)
            assert "EINTEGRITY" not in ran.stderr
            assert "EUSAGE" not in ran.stderr, "the lock file does not fit package.json"
            if ran.returncode:
                pytest.skip(f"{command[0]}: {ran.stderr.strip().splitlines()[-2:]}")
        done.write_text(wanted)


def needs_node():
    """Skip the test on a machine without node and npm."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("The program needs node and npm, and this machine has none.")


@contextlib.contextmanager
def running(command, *, env, log, **options):
    """Run a program while the block runs, with its output in the file `log`."""
    parent = os.getpid()
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            env=env,
            text=True,
            preexec_fn=lambda: die_with_parent(parent=parent),
            **{
                "stdout": output,
                "stderr": subprocess.STDOUT,
                "stdin": subprocess.DEVNULL,
                **options,
            },
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def recipe(name, *arguments):
    """The command that runs a Python program of the folder."""
    return [sys.executable, str(RECIPES / name), *arguments]


def decide(product, email_id, action, reason=""):
    """Decide on a held message directly at the gateway, as another desk would."""
    body = {"email_id": email_id, "action": action, "reason": reason}
    answer = product.call(
        "POST", "/v1/oversight/decide", key="OVERSIGHT_KEY", json=body
    )
    assert answer.status_code == 200, answer.text


def write(product, to, subject):
    """Send a mail to a mailbox by SMTP, as a customer would."""
    mail = EmailMessage()
    mail["From"] = "dana@northwind.example"
    mail["To"] = to
    mail["Subject"] = subject
    mail.set_content("It was due on Monday.")
    port = int(product.known["INBOUND_PORT"])
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as server:
        server.send_message(mail)


def receive(product, subject):
    """Send a mail to the demo's mailbox, and return its row in the list of emails."""
    write(product, product.known["MAILBOX_ADDRESS"], subject)

    def arrived():
        path = f"/v1/mailboxes/{product.known['MAILBOX_ID']}/emails"
        wanted = {"direction": "inbound", "subject_contains": subject}
        rows = product.call("GET", path, params=wanted).json()["emails"]
        return rows[0] if rows else None

    return product.wait_for(arrived, timeout=60, what=f"the message {subject!r}")


@contextlib.contextmanager
def webhook(product, *events, path="/hooks/multimail"):
    """Subscribe to events, at the only address at which the product can call a test."""
    url = f"http://127.0.0.1:{product.stack.hook_port}{path}"
    made = product.call(
        "POST",
        "/v1/webhooks",
        key="ADMIN_KEY",
        json={"url": url, "events": list(events)},
    )
    assert made.status_code == 201, made.text
    try:
        yield made.json()
    finally:
        product.call("DELETE", f"/v1/webhooks/{made.json()['id']}", key="ADMIN_KEY")


def copy_message(product, email_id, number, markdown):
    """Store so many copies of a message, with another text, and return their ids."""
    copied = product.sql(
        "INSERT INTO gateway_email SELECT (jsonb_populate_record(original, jsonb_build_object("
        "'id', left(id, 20) || lpad(number::text, 6, '0'), 'markdown', %s::text))).* "
        "FROM gateway_email AS original, generate_series(1, %s) AS number WHERE id = %s RETURNING id",
        markdown,
        number,
        email_id,
    )
    return sorted(email_id for (email_id,) in copied)
