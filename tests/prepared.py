"""Makes one PostgreSQL data folder in which all migrations have run, which test
processes copy in place of running migrations.

Running them takes seconds, and a test run needs a dozen databases. The folder is stored
next to the server packages. Its name has a hash of all that it is made from.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from launcher import environment, keys
from launcher.bootstrap import servers_folder
from launcher.paths import ROOT
from launcher.postgres import OWNER, Servers
from tests import other_postgresql

other_postgresql.use()
_CACHE_FOLDER = servers_folder().parent
# How long a test process waits for the folder.
_SECONDS = 120


class Preparing:
    """The prepared folder, which another process may still be making."""

    def __init__(self):
        self.folder = _CACHE_FOLDER / f"prepared-{_digest()}"
        self._maker = None

    def begin(self):
        """Start making the folder in another process, if it is missing and this is the
        main process of the test run.
        """
        if not self.folder.exists() and "PYTEST_XDIST_WORKER" not in os.environ:
            self._maker = subprocess.Popen(
                [sys.executable, "-m", "tests.prepared"], cwd=ROOT, env=_environment()
            )

    def copy_to(self, target):
        """Wait until the folder exists, and copy it."""
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
    """Return a hash of all migrations, of the package versions, of the code that runs
    the migrations, and of another PostgreSQL that runs them.
    """
    files = sorted(ROOT.glob("*/migrations/*.py"))
    made_by = [
        ROOT / "requirements.txt",
        ROOT / "dashboard/management/commands/prepare.py",
        Path(__file__),
        Path(other_postgresql.__file__),
    ]
    programs = other_postgresql.FOLDER or servers_folder().name
    digest = hashlib.sha256(programs.encode())
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
    """Make the folder under another name and then rename it, so that it is never seen
    half made. If several processes do this at once, the first wins. Delete old ones.
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
        # It belongs to an older state of the code. A newer one may be in use by another
        # checkout.
        if old != preparing.folder and time.time() - old.stat().st_mtime > 24 * 60 * 60:
            shutil.rmtree(old, ignore_errors=True)


def _migrate(servers, folder):
    assert servers.postgres is not None
    settings = environment.read({"DATA_DIR": str(folder), "DEMO": "0"})
    variables = {
        **_environment(),
        **settings.variables,
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
    # Each copy has keys of its own.
    with psycopg.connect(variables["DATABASE_OWNER_URL"]) as session:
        session.execute("DELETE FROM dashboard_host")


if __name__ == "__main__":
    make()
