"""The image of deploy/Containerfile, built on a Debian made from its packages: each of
its processes runs as a user without a name, who can write to /data and /tmp only.

What runs it elsewhere, docker or podman, is not here; buildah's own isolation is.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
import pytest
import requests

from launcher.bootstrap import install_debian_packages
from launcher.paths import ROOT
from launcher.postgres import postgres_programs
from tests.commands import run_command
from tests.stack import wait_for
from tests.supervised import NAMES, OF_THE_MACHINE, Supervised

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("launcher")]

USER = "4242:0"


def buildah(*arguments, check=True):
    """Run buildah without the help of a container's runtime; return the completed
    process.
    """
    return run_command(
        ["buildah", *arguments],
        env=os.environ | {"BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"},
        check=check,
    )


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The name of a container made from the image."""
    there = shutil.which("buildah") and shutil.which("mmdebstrap")
    if not there and (
        os.geteuid() != 0 or not install_debian_packages(["buildah", "mmdebstrap"])
    ):
        pytest.skip("buildah and mmdebstrap are missing: apt install them")
    system = str(tmp_path_factory.mktemp("base") / "base.tar")
    options = ["--variant=minbase", "--include=ca-certificates"]
    run_command(["mmdebstrap", *options, "bookworm", system], check=True)
    base = buildah("from", "scratch").stdout.strip()
    buildah("add", base, system, "/")
    for file in filter(os.path.exists, OF_THE_MACHINE):
        buildah("copy", base, file, file)
    buildah("config", "--env", f"SSL_CERT_FILE={OF_THE_MACHINE[0]}", base)
    buildah("commit", base, "localhost/countersign-base")
    built = ["--build-arg", "BASE=localhost/countersign-base", "--format", "docker"]
    file = ["-f", str(ROOT / "deploy" / "Containerfile"), "-t", "countersign-test"]
    buildah("build", *built, *file, str(ROOT))
    container = buildah("from", "countersign-test").stdout.strip()
    yield container
    buildah("rm", container, base)
    buildah("rmi", "--force", "countersign-test", "localhost/countersign-base")


class Contained(Supervised):
    """Runs the image beside servers of this machine."""

    def __init__(self, folder, container):
        super().__init__(folder)
        self.container = container
        self.volume = folder / "volume"
        self.volume.mkdir(mode=0o770)
        self.volume.chmod(0o770)

    def start_servers(self):
        """Start PostgreSQL and Redis, with sockets that every user may use."""
        self.postgres.start()
        self.redis.start()
        for path in (*self.folder.resolve().parents, self.folder):
            if path.stat().st_mode & 0o055 != 0o055 and path.stat().st_uid == 0:
                path.chmod(path.stat().st_mode | 0o055)
        self.postgres.sockets.chmod(0o755)
        self.redis.socket.chmod(0o777)

    def command(self, *arguments, user=USER, volumes=()):
        """Return the command that runs the image's own command with arguments."""
        sockets = str(self.postgres.sockets)
        mounted = [f"{self.volume}:/data", f"{sockets}:{sockets}", *volumes]
        wanted = {"DEMO": "0", "DATA_DIR": "/data", "DOMAIN": "desk.example.org"}
        wanted |= {name: self.env[name] for name in self.env if name.endswith("PORT")}
        wanted |= {name: self.env[name] for name in self.env if name.endswith("_URL")}
        return [
            "buildah",
            "run",
            "--isolation=chroot",
            f"--user={user}",
            *(f"--volume={one}" for one in mounted),
            *(f"--env={name}={value}" for name, value in wanted.items()),
            self.container,
            "--",
            "/app/deploy/container",
            *arguments,
        ]

    def run(self, *arguments, **options):
        return run_command(
            self.command(*arguments, **options),
            env=os.environ | {"STORAGE_DRIVER": "vfs"},
        )

    def start(self, name):
        self.started[name] = subprocess.Popen(
            self.command(name),
            env=os.environ | {"STORAGE_DRIVER": "vfs"},
            stdout=(self.folder / f"{name}.out").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def outputs(self):
        """Return what each process has printed last."""
        return "\n".join(
            f"{file.name}: {file.read_text(errors='replace')[-1500:]}"
            for file in self.folder.glob("*.out")
        )

    def pids(self):
        """Return the processes of the image: no other has its user."""
        line = f"Uid:\t{USER.partition(':')[0]}\t"
        found = []
        for entry in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                status = entry.read_text()
                # One that has ended may wait for this machine to collect it.
                if line in status and "\nState:\tZ" not in status:
                    found.append(int(entry.parent.name))
        return found

    def stop(self):
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for process in self.started.values():
            process.wait(30)
        self.redis.stop()
        self.postgres.stop()


@pytest.fixture
def contained(image, tmp_path):
    contained = Contained(tmp_path, image)
    try:
        contained.start_servers()
        yield contained
    finally:
        contained.stop()


def test_each_process_of_the_image_runs_as_a_user_without_a_name(contained):
    migrated = contained.run("migrate")
    assert migrated.returncode == 0, migrated.stderr
    assert re.search(r"https?://\S+/join/\S+", migrated.stdout), migrated.stdout
    assert (contained.volume / "secrets.env").stat().st_mode & 0o777 == 0o600
    running = _system(contained) / "tmp" / "countersign-process"
    running.touch()
    os.chown(running, *map(int, USER.split(":")))
    for name in NAMES:
        contained.start(name)
    for name in NAMES:
        # Each has the same file that says which process the container runs.
        with running.open("r+") as file:
            file.truncate()
            file.write(name)
        wait_for(lambda: contained.run("healthy").returncode == 0, 120, name)
    ready = f"http://127.0.0.1:{contained.env['PORT']}/readyz"
    wait_for(
        lambda: requests.get(ready, timeout=10).status_code == 200,
        60,
        "ready",
        report=lambda: requests.get(ready, timeout=10).text + contained.outputs(),
    )
    assert "needs attention" in contained.run("manage", "doctor").stdout
    backup = contained.run("backup", "/data/one.backup")
    assert "BACKUP_PASSPHRASE" in backup.stderr + backup.stdout
    # Nothing of the image can be changed by what runs in it.
    assert contained.run("manage", "shell", "-c", "open('/app/x', 'w')").returncode == 3


def test_whole_product_in_one_container_stops_in_time(contained):
    contained.start("all")
    wait_for(lambda: contained.run("healthy").returncode == 0, 120, "all is healthy")
    [launcher] = [
        pid
        for pid in contained.pids()
        if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"\0launcher\0")
    ]
    os.kill(launcher, signal.SIGTERM)
    contained.started["all"].wait(20)
    assert b"stopped" in (contained.folder / "all.out").read_bytes()
    assert contained.pids() == []


def test_passwords_of_the_database_are_made_once_and_fit_it(contained, tmp_path):
    folders = [tmp_path / name for name in ("secrets", "superuser", "database")]
    secrets, superuser, database = folders
    for folder in folders:
        folder.mkdir()
    volumes = [f"{folder}:/{folder.name}" for folder in folders]
    options = {"user": "0:0", "volumes": volumes}
    assert contained.run("secrets", **options).returncode == 0
    made = {file.name: file.read_text() for file in secrets.iterdir()}
    assert set(made) == {"database_url", "database_owner_url"}
    # 1.0.0 had everything in one volume, which the desk reads.
    for file in superuser.iterdir():
        shutil.move(file, secrets)
    assert contained.run("secrets", **options).returncode == 0
    assert {file.name for file in superuser.iterdir()} == {
        "superuser_password",
        "passwords.sql",
    }
    assert {file.name: file.read_text() for file in secrets.iterdir()} == made
    # What the container of PostgreSQL runs once.
    script = (ROOT / "deploy" / "database").read_text()
    command = script.splitlines()[-1].replace("/secrets", str(superuser))
    roles = str(ROOT / "docs" / "postgresql-roles.sql")
    subprocess.run(
        command.replace("/postgresql-roles.sql", roles).replace(
            "--username postgres", f"--dbname '{_superuser(contained)}'"
        ),
        shell=True,
        check=True,
        env=os.environ | {"PATH": f"{postgres_programs()}:{os.environ['PATH']}"},
    )
    for name in ("database_url", "database_owner_url"):
        url = made[name].replace("@database/", "@/")
        with psycopg.connect(url, host=str(contained.postgres.sockets)) as session:
            assert session.info.dbname == "countersign"
    # Lost beside data, they are not made again.
    (database / "PG_VERSION").write_text("17")
    for file in secrets.iterdir():
        file.unlink()
    refused = contained.run("secrets", **options)
    assert refused.returncode != 0
    assert "Nothing was changed" in refused.stderr
    assert list(secrets.iterdir()) == []


def _system(contained):
    return Path(buildah("mount", contained.container).stdout.strip())


def _superuser(contained):
    return contained.env["DATABASE_OWNER_URL"]
