"""A system with its own systemd, in a folder."""

import contextlib
import secrets
import subprocess
from pathlib import Path

from tests.commands import run_command
from tests.stack import wait_for

# The addresses of both ends of the cable between this machine and the system.
OUTSIDE, INSIDE = "203.0.113.1", "203.0.113.2"
NSPAWN = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit")


class System:
    """A booted system in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.name = f"cs{secrets.token_hex(3)}"
        self.nspawn = subprocess.Popen(
            [
                *(*NSPAWN, "--boot", f"--directory={folder}"),
                *("--network-veth", f"--machine={self.name}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=(folder.parent / "console").open("wb"),
            stderr=subprocess.STDOUT,
        )
        wait_for(self._is_up, 90, "the system to boot", report=self.console)

    def connect(self):
        """Let this machine reach the system at INSIDE."""
        for run, address, name in (
            (subprocess.check_call, OUTSIDE, f"ve-{self.name}"),
            (lambda command: self.run(*command), INSIDE, "host0"),
        ):
            run(["ip", "address", "add", f"{address}/30", "dev", name])
            run(["ip", "link", "set", name, "up"])

    def console(self):
        return (self.folder.parent / "console").read_text(errors="replace")

    def _is_up(self):
        state = self.run("systemctl", "is-system-running", check=False).stdout
        return state.strip() in ("running", "degraded")

    def _first(self):
        for entry in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                if f"\nPPid:\t{self.nspawn.pid}\n" in entry.read_text():
                    return entry.parent.name
        raise OSError("it has not begun")

    def run(self, *command, check=True, text=""):
        """Run a command in the system, as root; return the completed process."""
        path = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        done = run_command(
            [
                *("nsenter", f"--target={self._first()}", "--all"),
                *("env", "-i", f"PATH={path}", "LC_ALL=C.UTF-8", *command),
            ],
            input=text,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr + self.journal()
        return done

    def journal(self):
        query = ["journalctl", "--no-pager", "--lines=60", "--unit=countersign*"]
        return self.run(*query, check=False).stdout

    def shows(self, unit, name):
        return self.run(
            "systemctl", "show", unit, "--property", name, "--value"
        ).stdout.strip()

    def stop(self):
        self.nspawn.terminate()
        try:
            self.nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self.nspawn.kill()
