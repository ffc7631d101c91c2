"""The first hour of an operator: the commands of docs/operators/first-hour.md on a
Debian made from its packages under a real systemd, and its pages in Chromium.
"""

import os
import re
import shutil
import subprocess
from mailbox import Maildir

import pytest
from playwright.sync_api import expect

from launcher.bootstrap import install_debian_packages
from launcher.paths import ROOT
from tests.booted import INSIDE, NSPAWN, System
from tests.browser import test_first_run_seen as first_run
from tests.browser.conftest import ARGUMENTS, CHROMIUM, PATIENCE
from tests.browser.looking import pause
from tests.faults.test_releases import release
from tests.stack import wait_for
from tests.supervised import NAMES, OF_THE_MACHINE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("launcher"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a system"),
]

# What no Debian lacks, beside the packages that the page installs.
PACKAGES = "systemd systemd-sysv dbus ca-certificates iproute2"
MAIL = "127.0.0.1:2525"
SERVICES = [
    "countersign-parser" if name == "parser" else f"countersign-process@{name}"
    for name in NAMES
]
# For this name Caddy signs the certificate itself.
NAME = "desk.local"
PAGE = (ROOT / "docs" / "operators" / "first-hour.md").read_text()


def commands(title):
    """Return the commands of one section of the page."""
    section = re.search(rf"(?ms)^## \d\. {title}.*?$(.*?)(?=^## |\Z)", PAGE)[1]
    return "\n".join(
        line[4:] for line in section.splitlines() if line.startswith("    ")
    )


@pytest.fixture(scope="module", autouse=True)
def _short_queue():
    """Override the shared fixture: these tests start their own product."""


def repository(folder):
    """Make a repository with this code as 1.0.0, and as 1.0.1 with one more migration.
    Return the commits.
    """
    commits = []
    git = ("git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example")
    subprocess.check_call(["git", "init", "--quiet", str(folder)])
    for version, migrations in (("1.0.0", 0), ("1.0.1", 1)):
        release(folder, version, migrations)
        for installed in (".venv", ".servers"):
            (folder / installed).unlink()
        subprocess.check_call([*git, "add", "--all"])
        subprocess.check_call([*git, "commit", "--quiet", "--message", version])
        head = [*git, "rev-parse", "HEAD"]
        commits.append(subprocess.check_output(head, text=True).strip())
    return commits


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    there = all(map(shutil.which, ("systemd-nspawn", "mmdebstrap")))
    assert there or install_debian_packages(["systemd-container", "mmdebstrap"])
    folder = tmp_path_factory.mktemp("system") / "root"
    install = commands("Install")
    named = re.search(r"(?m)^apt install (.*)\n", install)
    packages = f"{PACKAGES} {named[1]}".replace(" ", ",")
    subprocess.run(
        [
            *("mmdebstrap", "--variant=minbase", f"--include={packages}"),
            *("bookworm", str(folder)),
        ],
        check=True,
        capture_output=True,
    )
    for file in filter(os.path.exists, OF_THE_MACHINE):
        shutil.copy(file, folder / file[1:])
    first, second = repository(folder / "srv" / "countersign")
    # Before it boots, because it cannot fetch packages then.
    subprocess.run(
        [
            *(*NSPAWN, "--pipe", f"--directory={folder}"),
            f"--setenv=SSL_CERT_FILE={OF_THE_MACHINE[0]}",
            *("sh", "-e"),
        ],
        input=re.sub("[0-9a-f]{40}", first, install.replace(named[0], "")).replace(
            "REPOSITORY", "/srv/countersign"
        ),
        text=True,
        check=True,
        capture_output=True,
    )
    system = System(folder)
    system.upgrade = second
    try:
        system.connect()
        yield system
    finally:
        system.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def letters(system):
    """What the mail server of the settings has taken, once the desk was installed and
    started.
    """
    system.run(
        *("systemd-run", "/opt/countersign/.venv/bin/python", "-m", "aiosmtpd"),
        *("--nosetuid", f"--listen={MAIL}", "--class=aiosmtpd.handlers.Mailbox"),
        "/srv/mail",
    )
    ours = "smtps://user:password@mail.example.com"
    follow(system, "Database and settings", ours, f"smtp://{MAIL}")
    follow(system, "Start, with TLS")
    return Maildir(system.folder / "srv" / "mail")


@pytest.fixture
def browse(chromium):
    """Return a function that opens a page in a new browser, which finds the system."""
    resolve = f"--host-resolver-rules=MAP {NAME} {INSIDE}"
    browser = chromium.browser_type.launch(
        executable_path=CHROMIUM, args=[*ARGUMENTS, "--no-sandbox", resolve]
    )

    def browse():
        context = browser.new_context(ignore_https_errors=True)
        context.set_default_timeout(PATIENCE)
        return context.new_page()

    yield browse
    browser.close()


def follow(system, title, old="desk.example.com", new=NAME):
    """Do what a section says; return what it prints."""
    steps = commands(title).replace(old, new).replace("desk.example.com", NAME)
    return system.run("bash", "-e", text=steps).stdout


def test_first_hour_by_the_page(system, letters, browse):
    printed = follow(system, "The first admin")
    [link] = re.findall(rf"https://{NAME}/join/\S+", printed)
    keys = dict(re.findall(r"(?m)^(agent|read|oversight|admin) .*?(mm_\w+)$", printed))
    admin = browse()
    first_run.join(admin, link, "Yara Doe")
    admin.wait_for_url("**/setup/")
    first_run.connect(admin, keys)
    first_run.hook(admin)
    for step in ("webhook", "queue", "mail"):
        wait_for(
            lambda step=step: first_run.see(admin, step, "Done") is None, 120, step
        )
    reviewer = browse()
    first_run.join(reviewer, first_run.invite(admin), "Rita Roe")
    reviewer.goto(f"https://{NAME}/queue/")
    admin.goto(f"https://{NAME}/setup/")
    command = first_run.step(admin, "letter").locator("pre").inner_text()
    sent = system.run("bash", text=command.replace("AGENT-KEY", keys["agent"]))
    assert "pending" in sent.stdout, sent.stdout
    item = reviewer.locator("#list .item", has_text="Hello from the first run")
    wait_for(lambda: reviewer.reload() and item.count(), 60, "the message")
    item.click()
    reviewer.get_by_role("button", name=re.compile("^Approve")).first.wait_for()
    # A press right after a message opened is taken for the rest of a double press.
    pause(reviewer)
    reviewer.keyboard.press("a")
    wait_for(lambda: len(letters), 60, "the letter")
    [letter] = letters
    assert letter["Subject"] == "Hello from the first run"
    listed = follow(system, "Back up")
    assert re.search(r"desk-[\d-]+\.backup", listed)
    follow(system, "Upgrade", "COMMIT", system.upgrade)
    done = system.run("countersign", "manage", "doctor", check=False).stdout
    assert "another version" not in done
    assert list((system.folder / "var/lib/countersign/backups").glob("before-1.0.1*"))
    reviewer.reload()
    expect(reviewer.get_by_role("heading", name="waiting")).to_be_visible()
    # Nobody here knows the desk's name.
    asked = ("manage doctor\n", "manage doctor || true\n")
    told = follow(system, "Be told of problems", *asked)
    assert "PUBLIC_URL does not lead to this desk" in told
    assert "1 problem to resolve" in told
    [told] = system.run("cat", "/etc/cron.d/countersign").stdout.splitlines()
    told = told.removeprefix("*/5 * * * * root ")
    # As cron runs it.
    told = system.run("env", "-i", "PATH=/usr/bin:/bin", "sh", "-c", told).stdout
    assert "not found" not in told
    assert len(letters) == 1


def test_services_are_hardened_and_watched_and_refuse_without_their_keys(
    system, letters
):
    for service in SERVICES:
        assert system.shows(service, "ActiveState") == "active", service
        assert system.shows(service, "User") == "countersign"
    for service in SERVICES:
        figure = system.run(
            "systemd-analyze", "security", "--no-pager", f"{service}.service"
        )
        exposure = re.search(r"exposure level for \S+: ([\d.]+)", figure.stdout)[1]
        assert float(exposure) < 2, service
    # One whose work stands still is started again.
    stuck = "countersign-process@live"
    folder = system.folder / "etc/systemd/system" / f"{stuck}.service.d"
    folder.mkdir()
    (folder / "test.conf").write_text("[Service]\nWatchdogSec=12\n")
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "restart", stuck)
    system.run("systemctl", "kill", "--signal=STOP", "--kill-whom=main", stuck)
    wait_for(lambda: system.shows(stuck, "NRestarts") != "0", 90, "it starts again")
    # After a reboot the database may come later.
    system.run("systemctl", "stop", "countersign*")
    system.run("systemctl", "stop", "postgresql")
    system.run("systemctl", "start", "--no-block", "countersign.target")
    waits = "must lead to PostgreSQL"
    wait_for(lambda: waits in system.journal(), 60, "it waits", report=system.journal)
    system.run("systemctl", "start", "postgresql")
    wait_for(
        lambda: system.shows(SERVICES[1], "ActiveState") == "active",
        90,
        "it starts",
        report=system.journal,
    )
    # Keys that were lost beside data stop everything, with the sentence in the journal.
    system.run("systemctl", "stop", "countersign*")
    keys = system.folder / "var/lib/countersign/secrets.env"
    kept = keys.read_bytes()
    keys.unlink()
    system.run("systemctl", "start", "countersign.target", check=False)
    assert "is not the key with which this database was filled" in system.journal()
    assert system.shows(SERVICES[1], "ActiveState") != "active"
    keys.write_bytes(kept)
    system.run("systemctl", "reset-failed")
    system.run("systemctl", "start", "countersign.target")
    wait_for(
        lambda: system.shows(SERVICES[1], "ActiveState") == "active",
        60,
        "it works again",
    )
