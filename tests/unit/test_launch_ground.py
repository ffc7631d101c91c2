"""What the launcher stands on: ports, socket folder, keys, data folder, logs, back-off."""

import os
import signal
import socket
import stat

import pytest

from launcher import data_folder, environment, keys, logs, ports
from launcher.child import Child, pause_before_start
from launcher.console import LaunchError
from launcher.embedded import socket_folder
from launcher.processes import Check, Process, table


def test_free_ports_are_different_and_below_those_of_outgoing_connections():
    picked = ports.pick_free_ports(5)
    assert len(set(picked)) == 5
    assert max(picked) < 32_768


def test_port_in_use_is_refused_by_its_variable():
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as server:
        number = server.getsockname()[1]
        with pytest.raises(LaunchError, match=rf"Port {number} is used.*LIVE_PORT=0"):
            ports.refuse_used({"LIVE_PORT": number})


def test_socket_folder_is_private_and_short_also_for_a_deep_clone(
    tmp_path, monkeypatch
):
    folder = socket_folder(tmp_path)
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    deep = tmp_path / ("deep" * 30)
    other = tmp_path / ("deeq" * 30)
    folder = socket_folder(deep)
    folder_of_other = socket_folder(other)
    try:
        assert len(os.fsencode(folder / ".s.PGSQL.5432.lock")) <= 107
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert socket_folder(deep) == folder != folder_of_other
    finally:
        folder.rmdir()
        folder_of_other.rmdir()


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can make a folder of somebody else"
)
def test_socket_folder_that_somebody_else_made_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/tmp")
    deep = tmp_path / ("other" * 30)
    folder = socket_folder(deep)
    try:
        os.chown(folder, 12345, 12345)
        with pytest.raises(LaunchError, match="another account"):
            socket_folder(deep)
    finally:
        folder.rmdir()


def _environment(data, **variables):
    return environment.read({"DATA_DIR": str(data), **variables})


def test_keys_are_made_once_only_for_their_owner_and_not_with_an_external_database(
    tmp_path,
):
    asked = _environment(tmp_path)
    first = keys.load_or_make(asked)
    assert stat.S_IMODE((tmp_path / keys.FILE).stat().st_mode) == 0o600
    assert keys.load_or_make(asked) == first
    assert len(set(first.values())) == len(keys.NAMES)
    # One that is given wins, and is not written down.
    assert (
        keys.load_or_make(_environment(tmp_path, SEAL_KEY="given"))["SEAL_KEY"]
        == "given"
    )
    assert "given" not in (tmp_path / keys.FILE).read_text()
    (tmp_path / "other").mkdir()
    with pytest.raises(LaunchError, match="SECRET_KEY is not set"):
        keys.load_or_make(
            _environment(
                tmp_path / "other", DATABASE_URL="postgresql:///desk", DEMO="0"
            )
        )


def test_assignments_are_read_as_a_shell_does(tmp_path):
    (tmp_path / "file").write_text(
        "# comment\n\nA=1\nexport B='two words'\nC=\"it's\"\n"
    )
    assert keys.read_assignments(tmp_path / "file") == {
        "A": "1",
        "B": "two words",
        "C": "it's",
    }


def test_data_folder_is_held_by_one(tmp_path):
    data = tmp_path / "data"
    with data_folder.held(data):
        data_folder.write_state(data, {"verb": "start", "url": "http://127.0.0.1:8000"})
        assert data_folder.is_held(data)
        with (
            pytest.raises(
                data_folder.DataFolderInUse,
                match=r"is already running: http://127\.0\.0\.1:8000",
            ),
            data_folder.held(data),
        ):
            pass
    assert not data_folder.is_held(data)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / data_folder.STATE).stat().st_mode) == 0o600


def test_folder_with_other_things_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(LaunchError, match=r"DATA_DIR.*thesis\.tex"):
        data_folder.claim(tmp_path)


def test_long_log_is_truncated_after_one_copy(tmp_path):
    log = tmp_path / "web.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 200)
        assert logs.rotate(log, limit=100)
        writer.write(b"after\n")
    assert log.read_bytes() == b"after\n"
    assert (tmp_path / "web.log.1").stat().st_size == 200
    assert not logs.rotate(log, limit=100)


def test_essence_of_a_traceback_is_its_last_sentence(tmp_path):
    log = tmp_path / "prepare.log"
    log.write_text(
        'before\nTraceback (most recent call last):\n  File "x.py", line 1\nKeyError: DISCORD_APP_ID is missing.\n'
    )
    assert logs.last_error(log) == "DISCORD_APP_ID is missing."


def test_first_restart_is_at_once_and_later_ones_wait_longer():
    assert [pause_before_start(lives) for lives in range(5)] == [0, 0, 0.25, 0.5, 1]
    assert pause_before_start(30) == 10


@pytest.mark.parametrize(
    ("product", "names"),
    [
        ("both", ["web", "live", "worker-desk", "gateway", "worker-out", "demo"]),
        ("gateway", ["gateway", "worker-out"]),
        ("dashboard", ["web", "live", "worker-desk"]),
    ],
)
def test_each_product_has_its_processes_of_which_one_beats(product, names):
    processes = table(environment.read({"SERVE": product}))
    assert [process.name for process in processes] == names
    assert (
        len([process for process in processes if process.environment.get("BEAT")]) == 1
    )
    # Mail is taken in wherever the gateway runs.
    assert [
        process.name for process in processes if "INBOUND" in process.environment
    ] == (["worker-out"] if product != "dashboard" else [])
    assert not [
        process
        for process in table(environment.read({"DEMO": "0"}))
        if process.name == "demo"
    ]


def test_process_that_answers_nothing_is_ended_after_the_third_question(tmp_path):
    with socket.socket() as deaf:
        # Taken, so that nobody else answers there; and nobody listens.
        deaf.bind(("127.0.0.1", 0))
        plan = Process(
            name="deaf",
            command=("sleep", "600"),
            checks=(Check(port=deaf.getsockname()[1], path="/"),),
        )
        child = Child(plan, environment=os.environ, logs=tmp_path)
        child.start()
        try:
            assert not child.end_if_hanging(), "it is given time to start"
            child.started -= 60
            assert [child.end_if_hanging() for _ in range(3)] == [False, False, True]
            assert child.running.wait(60) == -signal.SIGKILL
            assert child.take_end() == "signal 9"
        finally:
            child.end_now()


@pytest.mark.xdist_group("together")
def test_group_of_tests_reaches_the_scheduler(request):
    # It once got lost without a word, and every test process started a product of its
    # own.
    grouped = getattr(request.config.option, "loadgroup", False)
    assert request.node.nodeid.endswith("@together") == grouped
