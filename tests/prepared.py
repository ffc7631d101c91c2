"""One PostgreSQL folder in which all migrations have run, made once and copied by
everything that needs a database.

Making one costs seconds of processor time, and a run needs a dozen. It is kept beside
the server packages, under a name that stands for all that it is made from.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from launcher import environment, keys
from launcher.bootstrap import servers_folder
from launcher.paths import ROOT
from launcher.postgres import OWNER
from launcher.servers import Servers

_CACHE_FOLDER = servers_folder().parent
_SECONDS = 120


class Preparing:
    """The folder, which may still be in the making by another process."""

    def __init__(self):
        self.folder = _CACHE_FOLDER / f"prepared-{_digest()}"
        self._maker = None

    def begin(self):
        """Let it be made beside what this process does, where it is not there yet; by
        one process of a run.
        """
        if not self.folder.exists() and "PYTEST_XDIST_WORKER" not in os.environ:
            self._maker = subprocess.Popen(
                [sys.executable, "-m", "tests.prepared"], cwd=ROOT, env=_environment()
            )

    def copy_to(self, target):
        """Copy the folder, as soon as it is there."""
        if self._maker is None:
            self.begin()
        deadline = time.monotonic() + _SECONDS
        while not self.folder.exists():
            if self._maker is not None and self._maker.poll():
                raise RuntimeError(
                    "no database could be prepared; what went wrong stands above"
                )
            if time.monotonic() > deadline:
                raise RuntimeError(f"no database was prepared within {_SECONDS} s")
            time.sleep(0.02)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.folder, target)


def _digest():
    """Stands for every migration, of ours and of the packages, and for what runs them."""
    files = sorted(ROOT.glob("*/migrations/*.py"))
    made_by = [
        ROOT / "requirements.txt",
        ROOT / "dashboard/management/commands/prepare.py",
        Path(__file__),
    ]
    digest = hashlib.sha256(servers_folder().name.encode())
    for path in (*files, *made_by, *sorted((ROOT / "launcher").glob("postgres.py"))):
        digest.update(
            path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes()
        )
    return digest.hexdigest()[:16]


def _environment():
    ours = environment.PRODUCT_VARIABLES | {"DJANGO_SETTINGS_MODULE"}
    return {name: value for name, value in os.environ.items() if name not in ours}


preparing = Preparing()


def make():
    """Make the folder beside its place, and move it there whole; of several who do so
    at once the first one counts.
    """
    with tempfile.TemporaryDirectory(
        prefix="countersign-", ignore_cleanup_errors=True
    ) as temporary:
        servers = Servers(Path(temporary), durable=False)
        try:
            servers.start()
            _migrate(servers, Path(temporary))
        finally:
            servers.stop()
        assert servers.postgres is not None
        (servers.postgres.data / "postmaster.opts").unlink(missing_ok=True)
        part = Path(tempfile.mkdtemp(prefix="part-", dir=_CACHE_FOLDER))
        shutil.copytree(servers.postgres.data, part / "whole")
        if not preparing.folder.exists():
            (part / "whole").rename(preparing.folder)
        shutil.rmtree(part, ignore_errors=True)
    for old in _CACHE_FOLDER.glob("prepared-*"):
        # Of a branch that was left; one from today may be somebody's.
        if old != preparing.folder and time.time() - old.stat().st_mtime > 24 * 60 * 60:
            shutil.rmtree(old, ignore_errors=True)


def _migrate(servers, folder):
    assert servers.postgres is not None
    asked = environment.read({"DATA_DIR": str(folder), "DEMO": "0"})
    variables = {
        **_environment(),
        **asked.variables,
        **servers.variables(),
        **keys.new_keys(),
        "DEMO": "0",
    }
    variables["DATABASE_OWNER_URL"] = servers.postgres.url(OWNER)
    subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "prepare"],
        env=variables,
        cwd=ROOT,
        check=True,
    )


if __name__ == "__main__":
    make()
