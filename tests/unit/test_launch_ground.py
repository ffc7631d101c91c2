"""What the launcher stands on: ports, socket folder, keys, data folder, logs, back-off."""

import os
import signal
import socket
import stat

import pytest

from launcher import data_folder, environment, keys
from launcher.child import Child, keep_earlier, rotate
from launcher.console import LaunchError
from launcher.processes import Check, Process, table


def _environment(data, **variables):
    return environment.read({"DATA_DIR": str(data), **variables})


def test_keys_are_made_once_only_for_their_owner(tmp_path):
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


def test_folder_with_other_things_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(LaunchError, match=r"DATA_DIR.*thesis\.tex"):
        data_folder.claim(tmp_path)


def test_logs_of_five_starts_are_kept_with_what_was_moved_out_of_them(tmp_path):
    log = tmp_path / "web.log"
    for number in range(7):
        log.write_text(f"start {number}: begin\n")
        rotate(log, limit=1)
        log.write_text(f"start {number}: end\n")
        keep_earlier(log)
        # A start that writes nothing pushes nothing out.
        keep_earlier(log)
    kept = {one.name: one.read_text() for one in tmp_path.iterdir()}
    assert kept.pop("web.log") == ""
    assert kept == {
        f"web.log.{back}": f"start {7 - back}: begin\nstart {7 - back}: end\n"
        for back in range(1, 6)
    }


def test_each_product_has_its_processes_of_which_one_beats():
    desk = ["web", "live", "worker-desk"]
    gateway = ["gateway", "worker-out"]
    for asked, names in (
        ({"SERVE": "both"}, [*desk, *gateway, "demo"]),
        ({"SERVE": "both", "DEMO": "0"}, [*desk, *gateway]),
        ({"SERVE": "gateway"}, gateway),
        ({"SERVE": "dashboard"}, desk),
    ):
        processes = table(environment.read(asked))
        assert [one.name for one in processes] == names
        assert sum("BEAT" in one.environment for one in processes) == 1


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
        finally:
            child.end_now()
