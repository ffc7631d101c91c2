"""A full disk: pages that store nothing work, others say why they do not, and the
launcher goes on by itself.

Here PostgreSQL is told to answer as on a full disk; with a disk that is full,
tests/faults/test_desk_small_disk.py.
"""

import os
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.core.management import call_command
from django.db import connection as database

from common import disk
from launcher import environment
from launcher.child import Child
from launcher.console import LaunchError
from launcher.postgres import Redis
from launcher.processes import Process
from launcher.supervisor import Signals, StopRequested, Supervisor

# A file system without free space, on every Linux; and a file that cannot be written.
NO_ROOM = Path("/proc")
FULL = Path("/dev/full")
_REFUSE = """
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
DO $$ DECLARE one text; BEGIN
  FOR one IN SELECT format('%I', relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
  LOOP
    EXECUTE 'CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON ' || one
      || ' FOR EACH STATEMENT EXECUTE FUNCTION public.refuse()';
  END LOOP;
END $$;
"""


@pytest.fixture
def full(monkeypatch):
    """Return a function that makes PostgreSQL refuse every write, as on a full disk."""

    def fill():
        monkeypatch.setattr(settings, "DATA_DIR", NO_ROOM)
        with database.cursor() as cursor:
            cursor.execute(_REFUSE)

    return fill


def test_doctor_and_readiness_name_the_full_disk(client, full, capsys):
    full()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["disk"] is False
    with pytest.raises(SystemExit):
        call_command("doctor")
    assert (
        "The disk of DATA_DIR is full, and nothing can be stored"
        in capsys.readouterr().out
    )


def test_full_disk_is_detected_by_free_space_and_by_errors(tmp_path):
    assert disk.is_full(NO_ROOM)
    assert not disk.is_full(tmp_path)
    assert not disk.is_full(tmp_path / "missing")
    with pytest.raises(OSError, match="No space") as raised:
        FULL.write_text("words")
    outer = RuntimeError("not stored")
    outer.__cause__ = raised.value
    assert disk.is_disk_full_error(outer)
    assert not disk.is_disk_full_error(FileNotFoundError(2, "missing"))
    assert not disk.is_disk_full_error(None)


class Steps(Signals):
    """Signals of a launcher at whose looks one step after the other happens; after the
    last it is told to stop.

    A step is called until it says that it has happened.
    """

    def __init__(self, *steps):
        super().__init__()
        self.steps = list(steps)

    def pause(self, seconds):
        if not self.steps:
            raise StopRequested(15)
        if self.steps[0]():
            del self.steps[0]
        super().pause(min(seconds, 0.05))


def supervisor_of(data, *steps):
    asked = environment.read({"DATA_DIR": str(data), "DEMO": "0"})
    return Supervisor(asked, signals=Steps(*steps), verb="start")


def test_launcher_continues_while_nothing_can_be_written_and_catches_up(
    tmp_path, capsys
):
    (tmp_path / "run.json").write_text("{}")
    logs = tmp_path / "logs"
    full = pytest.MonkeyPatch()
    # What was written reaches the disk here at the latest.
    full.setattr(
        "common.credentials.os.fsync", lambda descriptor: FULL.write_text("words")
    )
    # Its log cannot be opened at first.
    child = Child(
        Process(name="one", command=("sleep", "600")), environment=os.environ, logs=logs
    )
    supervisor = supervisor_of(
        tmp_path,
        lambda: logs.mkdir() is None,
        lambda: child.running is not None,
        lambda: full.undo() is None,
        lambda: f'"one": {child.running.pid}' in (tmp_path / "run.json").read_text(),
    )
    supervisor.servers.all.clear()
    supervisor.children = [child]
    try:
        with pytest.raises(StopRequested):
            supervisor.watch()
    finally:
        full.undo()
        child.end_now()
    output = capsys.readouterr().out
    assert "one cannot be started: No such file or directory." in output
    assert (
        output.count("The state of the run cannot be saved: No space left on device.")
        == 1
    )


def test_start_on_a_full_disk_waits_for_free_space(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(disk, "LEAST_FREE", 2**63)
    # Left by an earlier run; its process id may belong to another program now.
    (tmp_path / "run.json").write_text('{"pid": 1}')
    waiting = supervisor_of(tmp_path, lambda: True, lambda: True)
    with pytest.raises(StopRequested):
        waiting.start()
    assert capsys.readouterr().out.count("is full: waiting until") == 1
    assert f'"pid": {os.getpid()}' in (tmp_path / "run.json").read_text()
    assert not (tmp_path / "postgres").exists()


def test_redis_preserves_its_data_on_a_full_disk_and_otherwise_moves_unreadable_data_aside(
    tmp_path, monkeypatch
):
    # Its data was unreadable once before.
    (tmp_path / "redis.damaged").mkdir()
    data = tmp_path / "redis"
    data.mkdir()
    # Before Valkey 7 there was one file, which it moves into a folder.
    unreadable = "appendonlydir/appendonly.aof"
    (data / "appendonly.aof").write_bytes(b"no commands at all")
    server = Redis(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(disk, "LEAST_FREE", 2**63)
        with pytest.raises(LaunchError, match="Redis ended"):
            server.start()
    assert (data / unreadable).read_bytes() == b"no commands at all"
    try:
        server.start()
        assert redis.Redis.from_url(server.url()).ping()
    finally:
        server.stop()
    assert (tmp_path / "redis.damaged" / unreadable).exists()
