"""P3: the Promela model of the decision protocol (docs/model) holds in every state, and
its broken twins do not.
"""

import re
import subprocess

import pytest

from launcher.paths import ROOT
from launcher.quality import has_spin

MODEL = ROOT / "docs" / "model" / "decision.pml"
SMALL = {"ROWS": 1, "ATTEMPTS": 2}
LARGE = {"ROWS": 2, "ATTEMPTS": 1, "EXPIRY": 1}
# A bound for a machine that is busy: the largest takes some minutes.
PATIENCE = 1200
LIVE = {"ROWS": 1, "ATTEMPTS": 1, "LIVENESS": 1}

pytestmark = pytest.mark.skipif(
    not has_spin(), reason="spin or gcc is missing (Debian: apt install spin gcc)"
)


def compile_model(folder, switches, *options):
    defined = [f"-D{name}={value}" for name, value in switches.items()]
    subprocess.run(
        ["spin", *defined, "-a", str(MODEL)],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    # For a small model, optimising takes longer than it saves; the last option wins.
    subprocess.run(
        ["gcc", "-O0", "-DMEMLIM=6000", "-DNFAIR=4", *options, "-o", "pan", "pan.c"],
        cwd=folder,
        check=True,
    )


def run_model(folder, *options):
    command = ["./pan", "-m1000000", "-n", *options]
    return subprocess.run(
        command,
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    ).stdout


def visit_all(folder, switches, *options):
    """Look at every state there is, and return what pan printed."""
    compile_model(folder, switches, "-DSAFETY", "-DNOCLAIM", *options)
    return run_model(folder)


def assert_holds(printed):
    assert "errors: 0" in printed, printed
    assert "Search not completed" not in printed, printed
    assert "max search depth too small" not in printed, printed
    states = re.search(r"([\d.e+]+) states, stored", printed)
    assert states, printed
    print(f"{states[1]} states")


@pytest.mark.parametrize(
    "upstream",
    [
        pytest.param("", id="first decision wins"),
        pytest.param(
            "REPEATS", id="no call outlives the settle time", marks=pytest.mark.slow
        ),
    ],
)
def test_protocol_holds_in_every_state(tmp_path, upstream):
    assert_holds(visit_all(tmp_path, SMALL | ({upstream: 1} if upstream else {})))


# Two people have to approve; the content changes, and one of the two leaves.
SEVERAL = {"ROWS": 1, "ATTEMPTS": 1, "SEVERAL": 1}
TWINS_OF_SEVERAL = {
    "COUNT_TWICE": ({}, r"pressed\[0\]&&pressed\[1\]"),
    "ASKED_ONCE": ({}, r"of_changed\[d\]==changed"),
    "KEEP_VERDICTS": ({"ROWS": 2, "FAULTS": 0}, r"pressed\[0\]&&pressed\[1\]"),
}


def test_protocol_with_two_approvals_holds_in_every_state(tmp_path):
    assert_holds(visit_all(tmp_path, SEVERAL))


@pytest.mark.slow
@pytest.mark.parametrize("switch", TWINS_OF_SEVERAL)
def test_broken_twin_with_two_approvals_has_a_counterexample(tmp_path, switch):
    switches, violated = TWINS_OF_SEVERAL[switch]
    printed = visit_all(tmp_path, SEVERAL | switches | {switch: 1})
    assert re.search(rf"assertion violated.*{violated}", printed), printed


@pytest.mark.slow
def test_protocol_with_two_decisions_of_two_approvals_holds_in_the_states_of_a_sample(
    tmp_path,
):
    switches = SEVERAL | {"ROWS": 2, "FAULTS": 0}
    compile_model(tmp_path, switches, "-DSAFETY", "-DNOCLAIM", "-DBITSTATE", "-O2")
    printed = run_model(tmp_path, "-w24")
    assert "errors: 0" in printed, printed


# A standing approval decides; it ends, the content changes, and anybody stops it.
STANDING = {"ROWS": 1, "ATTEMPTS": 1, "STANDING": 1}
TWINS_OF_STANDING = {
    "MARKED_UNASKED": ({}, r"!\(by_standing\[d\]\)\|\|in_force"),
    "MET_TWICE": ({"ROWS": 2, "FAULTS": 0}, r"!\(met\)"),
}


def test_protocol_with_a_standing_approval_holds_in_every_state(tmp_path):
    assert_holds(visit_all(tmp_path, STANDING))


@pytest.mark.slow
def test_protocol_with_a_standing_approval_and_two_decisions_holds_in_every_state(
    tmp_path,
):
    assert_holds(visit_all(tmp_path, STANDING | {"ROWS": 2, "FAULTS": 0}, "-O2"))


@pytest.mark.slow
@pytest.mark.parametrize("switch", TWINS_OF_STANDING)
def test_broken_twin_with_a_standing_approval_has_a_counterexample(tmp_path, switch):
    switches, violated = TWINS_OF_STANDING[switch]
    printed = visit_all(tmp_path, STANDING | switches | {switch: 1})
    assert re.search(rf"assertion violated.*{violated}", printed), printed


TWINS = {
    "NO_FENCE": (
        "no attempt number",
        {},
        r"row\[d\].attempt==n",
        "a late worker overwrites a newer attempt",
    ),
    "RERUN": (
        "called again when the lease ends",
        {"REPEATS": 1},
        r"effects<=1",
        "two mails leave",
    ),
    "UNDO_UNKNOWN": (
        "undone although unknown",
        {},
        r"!\(\(row\[\(1/2\)\].state==",
        "it leaves although undone",
    ),
    "KILL_ASKED_ONCE": (
        "kill switch asked too early",
        {},
        r"!\(killed\)",
        "a call after the kill switch",
    ),
    "WITHDRAW_ELSEWHERE": (
        "withdrawn by nobody",
        {},
        r"\.stopped",
        "what nobody withdrew has left after all",
    ),
}


# To compile a twin takes longer than to look at its states: the others are for --all.
@pytest.mark.parametrize(
    "switch",
    [
        pytest.param(
            one, id=TWINS[one][0], marks=[pytest.mark.slow] * (one != "NO_FENCE")
        )
        for one in TWINS
    ],
)
def test_broken_twin_has_a_counterexample(tmp_path, switch):
    _, upstream, violated, what_happens = TWINS[switch]
    printed = visit_all(tmp_path, SMALL | upstream | {switch: 1})
    assert "errors: 1" in printed, f"nothing shows that {what_happens}"
    assert re.search(rf"assertion violated.*{violated}", printed), printed


@pytest.mark.slow
def test_doubt_ends_and_mirror_follows_under_weak_fairness(tmp_path):
    compile_model(tmp_path, LIVE, "-DNOREDUCE")
    for claim in ("doubt_ends", "mirror_follows"):
        assert_holds(run_model(tmp_path, "-a", "-f", "-N", claim))


@pytest.mark.slow
def test_doubt_does_not_end_where_nobody_sweeps(tmp_path):
    compile_model(tmp_path, LIVE | {"NO_SWEEP": 1}, "-DNOREDUCE")
    assert "acceptance cycle" in run_model(tmp_path, "-a", "-f", "-N", "doubt_ends")


@pytest.mark.slow
@pytest.mark.parametrize(
    "upstream",
    ["", "REPEATS"],
    ids=["first decision wins", "no call outlives the settle time"],
)
def test_protocol_with_a_second_decision_and_expiry_holds_in_every_state(
    tmp_path, upstream
):
    assert_holds(
        visit_all(tmp_path, LARGE | ({upstream: 1} if upstream else {}), "-O2")
    )


@pytest.mark.slow
def test_protocol_with_a_second_attempt_ends_every_doubt(tmp_path):
    # That the mirror follows does not depend on the number of attempts: one is enough
    # for it, above.
    compile_model(tmp_path, LIVE | {"ATTEMPTS": 2}, "-DNOREDUCE", "-O2")
    assert_holds(run_model(tmp_path, "-a", "-f", "-N", "doubt_ends"))


@pytest.mark.slow
def test_protocol_with_two_decisions_of_two_attempts_holds_in_the_states_of_a_sample(
    tmp_path,
):
    # Too many states to keep: bitstate hashing visits some seven million of them, the
    # same each time.
    compile_model(
        tmp_path,
        {"ROWS": 2, "ATTEMPTS": 2, "EXPIRY": 1},
        "-DSAFETY",
        "-DNOCLAIM",
        "-DBITSTATE",
        "-O2",
    )
    printed = run_model(tmp_path, "-w24")
    assert "errors: 0" in printed, printed
