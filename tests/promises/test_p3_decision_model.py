"""P3: the Promela model of the decision protocol (docs/model) holds in every state, and
its broken twins do not.
"""

import re
import subprocess

import pytest

from launcher.paths import ROOT
from launcher.quality import has_spin
from tests.commands import run_command

MODEL = ROOT / "docs" / "model" / "decision.pml"
SMALL = {"ROWS": 1, "ATTEMPTS": 2}
LARGE = {"ROWS": 2, "ATTEMPTS": 1, "EXPIRY": 1}
# Two people have to approve; the content changes, and one of the two leaves.
SEVERAL = {"ROWS": 1, "ATTEMPTS": 1, "SEVERAL": 1}
# A pass decides; it ends, the content changes, and anybody stops it.
PASS = {"ROWS": 1, "ATTEMPTS": 1, "PASS": 1}
TWO_ROWS = {"ROWS": 2, "FAULTS": 0}
LIVE = {"ROWS": 1, "ATTEMPTS": 1, "LIVENESS": 1}

pytestmark = pytest.mark.skipif(
    not has_spin(), reason="spin or gcc is missing (Debian: apt install spin gcc)"
)


def compile_model(folder, switches, *options):
    defined = [f"-D{name}={value}" for name, value in switches.items()]
    run_command(["spin", *defined, "-a", str(MODEL)], cwd=folder, check=True)
    # For a small model, optimising takes longer than it saves; the last option wins.
    subprocess.run(
        ["gcc", "-O0", "-DMEMLIM=6000", "-DNFAIR=4", *options, "-o", "pan", "pan.c"],
        cwd=folder,
        check=True,
    )


def run_model(folder, *options):
    command = ["./pan", "-m1000000", "-n", *options]
    return run_command(command, cwd=folder, check=True).stdout


def visit_all(folder, switches, *options):
    """Look at every state there is, and return what pan printed."""
    compile_model(folder, switches, "-DSAFETY", "-DNOCLAIM", *options)
    return run_model(folder)


def assert_holds(printed):
    assert "errors: 0" in printed, printed
    assert "Search not completed" not in printed, printed
    assert "max search depth too small" not in printed, printed


# The others are variants of the first. In REPEATS no call outlives the settle time.
MODELS = {
    "one decision": SMALL,
    "one decision, repeats": SMALL | {"REPEATS": 1},
    "two approvals": SEVERAL,
    "pass": PASS,
    "two decisions and expiry": LARGE,
}


def all_but(*ordinary, of):
    """Return the names as parameters; all but these run with --all."""
    return [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in ordinary))
        for name in of
    ]


@pytest.mark.parametrize("name", all_but("one decision", of=MODELS))
def test_protocol_holds_in_every_state(tmp_path, name):
    switches = MODELS[name]
    assert_holds(visit_all(tmp_path, switches, *["-O2"] * (switches["ROWS"] > 1)))


# What is broken: the switches, and the assertion that does not hold then.
TWINS = {
    # A late worker overwrites a newer attempt.
    "NO_FENCE": (SMALL, r"row\[d\].attempt==n"),
    # Called again when the lease ends: two mails leave.
    "RERUN": (SMALL | {"REPEATS": 1}, r"effects<=1"),
    # Undone although unknown: it leaves although undone.
    "UNDO_UNKNOWN": (SMALL, r"!\(\(row\[\(1/2\)\].state=="),
    # The kill switch is asked too early.
    "KILL_ASKED_ONCE": (SMALL, r"!\(killed\)"),
    # What nobody withdrew has left after all.
    "WITHDRAW_ELSEWHERE": (SMALL, r"\.stopped"),
    "COUNT_TWICE": (SEVERAL, r"pressed\[0\]&&pressed\[1\]"),
    "ASKED_ONCE": (SEVERAL, r"of_changed\[d\]==changed"),
    "KEEP_VERDICTS": (SEVERAL | TWO_ROWS, r"pressed\[0\]&&pressed\[1\]"),
    "MARKED_UNASKED": (PASS, r"!\(by_pass\[d\]\)\|\|in_force"),
    "MET_TWICE": (PASS | TWO_ROWS, r"!\(met\)"),
}


# To compile a twin takes longer than to look at its states: the others are for --all.
@pytest.mark.parametrize("name", all_but("NO_FENCE", of=TWINS))
@pytest.mark.slow
def test_broken_twin_has_a_counterexample(tmp_path, name):
    switches, violated = TWINS[name]
    printed = visit_all(tmp_path, switches | {name: 1})
    assert re.search(rf"assertion violated.*{violated}", printed), printed


@pytest.mark.slow
@pytest.mark.parametrize("claim", ["doubt_ends", "mirror_follows"])
def test_doubt_ends_and_mirror_follows_under_weak_fairness(tmp_path, claim):
    compile_model(tmp_path, LIVE, "-DNOREDUCE")
    assert_holds(run_model(tmp_path, "-a", "-f", "-N", claim))


@pytest.mark.slow
def test_doubt_about_a_second_attempt_ends_in_the_states_of_a_sample(tmp_path):
    switches = LIVE | {"ATTEMPTS": 2}
    compile_model(tmp_path, switches, "-DNOREDUCE", "-DBITSTATE", "-O1")
    printed = run_model(tmp_path, "-a", "-f", "-N", "doubt_ends", "-w22")
    assert "errors: 0" in printed, printed


@pytest.mark.slow
def test_doubt_does_not_end_where_nobody_sweeps(tmp_path):
    compile_model(tmp_path, LIVE | {"NO_SWEEP": 1}, "-DNOREDUCE")
    assert "acceptance cycle" in run_model(tmp_path, "-a", "-f", "-N", "doubt_ends")


@pytest.mark.slow
@pytest.mark.parametrize(
    "switches",
    [
        SEVERAL | TWO_ROWS,
        PASS | TWO_ROWS,
        LARGE | {"ATTEMPTS": 2},
        LARGE | {"REPEATS": 1},
    ],
)
def test_protocol_with_two_decisions_holds_in_the_states_of_a_sample(
    tmp_path, switches
):
    # So many states that visiting all would take minutes: bitstate hashing visits some
    # million and a half of them, the same each time.
    compile_model(tmp_path, switches, "-DSAFETY", "-DNOCLAIM", "-DBITSTATE", "-O1")
    printed = run_model(tmp_path, "-w22")
    assert "errors: 0" in printed, printed
