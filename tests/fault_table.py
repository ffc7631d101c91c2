"""Writes docs/faults.md from the marks of the fault tests and the outcomes of the very run that is asked to write it.

    ./run test --all tests -m fault --write-faults

A table is written only when every fault test of the repository ran and none failed. What a machine forbids is skipped
by its test with a sentence, which the table repeats.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "faults.md"
NAMES = {
    1: "MultiMail commits, and its answer is lost",
    2: "MultiMail fails before it commits, and the connection is cut",
    3: "MultiMail is slower than the time limit, then commits",
    4: "MultiMail answers 500, after it committed or before",
    5: "MultiMail asks to wait (429)",
    6: "The key is revoked (401, 403)",
    7: "MultiMail refuses one decision (404, 409, 422)",
    8: "Somebody decides elsewhere while ours waits",
    9: "The mail changes between reading, click and call",
    10: "MultiMail's answer is no JSON, cut short, huge, or drips",
    11: "Name, connection or certificate fails before anything is sent",
    12: "A kept connection is reset when it is written to",
    13: "The executor is killed before, during or after its call",
    14: "The executor is stopped past its lease and wakes up late",
    15: "The executor loses its database while it calls",
    16: "Two executors, or a wake-up that comes twice",
    17: "Two reviewers, two tabs, a double click, a browser that repeats",
    18: "One webhook a hundred times at once",
    19: "Webhooks come in another order",
    20: "A webhook comes a day late, or again after the decision",
    21: "A webhook is lost for good",
    22: "A webhook is forged, damaged, or signed for another connection",
    23: "The signing secret changes under load",
    24: "A webhook's body is too large, too deep, or not text",
    25: "The web process is killed between storing a webhook and answering",
    26: "PostgreSQL is killed and restarted under load",
    27: "PostgreSQL has no connection left",
    28: "The disk is full",
    29: "Deadlock and serialization failure",
    30: "A transaction stays open",
    31: "Redis is emptied in traffic",
    32: "Redis is gone, read-only, or out of memory",
    33: "Redis comes back with older data",
    34: "The worker is killed again and again",
    35: "A mail kills the worker that handles it",
    36: "Two beats, no beat, a beat that slept",
    37: "A host's clock jumps",
    38: "Discord asks to wait (429)",
    39: "A channel's webhook is gone, or refuses (401, 403, 404)",
    40: "Discord is slow, or its answer is lost after it took a post",
    41: "Discord refuses a card as it is (400)",
    42: "More alerts come than a channel takes",
    43: "A subject attacks the channel: mentions, Markdown, links",
    44: "The ledger is altered beneath the application",
    45: "The database is restored into another cluster",
    46: "The sealer is killed, or two of them run",
    47: "The live stream is lost, held up, or slept through",
    50: "A session or a role is removed while a decision waits",
    53: "An attached file attacks what shows it",
    55: "Something fails between the calls that replace a message by its correction",
    56: "Things change before an approval for later is due",
    57: "An agent sends without end",
    61: "A change that waits for a second admin meets another act",
    62: "Rules and approvals by several people meet another act",
    63: "A practice message is planted or decided while something fails",
    64: "A stranger's message or file makes its reader run for ever, fill the memory or crash",
    66: "A process stops working without ending",
    65: "A signed webhook says what is not true",
    54: "A remote picture's server attacks, stalls or is not to be asked any more",
}
_HEAD = """# Faults that the tests inject

Each line is a fault that tests inject into the running product, and what held. A run of all of them writes this page:
`./run test --all tests -m fault --write-faults`. The tests are in `tests/faults`, those of pages in `tests/browser`.

| | fault | how it is injected | what held |
|---|---|---|---|
"""


class Fault(NamedTuple):
    """One mark: `@pytest.mark.fault(number, injected="...", held="...")`."""

    number: int
    injected: str
    held: str


@dataclass
class _Seen:
    """What became of the tests of one mark."""

    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


class Writer:
    """Gathers outcomes in the process that reports, and writes the table at the end."""

    def __init__(self) -> None:
        self._seen: dict[Fault, _Seen] = defaultdict(_Seen)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == "fault":
                self._note(self._seen[Fault(*value)], report)  # type: ignore[misc]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if reason := self._why_not():
            terminalreporter.write_line(f"docs/faults.md was not written: {reason}", red=True)
            return
        TABLE.write_text(self.text())
        terminalreporter.write_line(f"docs/faults.md tells of {len(self._seen)} faults and how they were met.")

    def text(self) -> str:
        """The page, the same for every run with these outcomes."""
        # Those of one number as they stand in the tests: a later one may speak of the one before.
        order = {fault: number for number, fault in enumerate(declared())}
        return _HEAD + "".join(map(self._line, sorted(self._seen, key=lambda fault: (fault.number, order[fault]))))

    def _note(self, seen: _Seen, report: pytest.TestReport) -> None:
        if report.failed:
            seen.failed.append(report.nodeid)
        elif reason := getattr(report, "wasxfail", ""):
            seen.skipped.append(f"Does not hold yet: {reason}")
        elif report.skipped:
            sentence = report.longrepr[2] if isinstance(report.longrepr, tuple | list) else str(report.longrepr)
            seen.skipped.append(f"Skipped: {sentence.removeprefix('Skipped: ')}")

    def _why_not(self) -> str:
        failed = [test for seen in self._seen.values() for test in seen.failed]
        missing = sorted(set(declared()) - self._seen.keys())
        if failed or not self._seen:
            return f"{failed[0]} failed." if failed else "no fault test ran."
        return f"fault {missing[0].number} ({missing[0].injected}) was not tried in this run." if missing else ""

    def _line(self, fault: Fault) -> str:
        notes = "".join(f" **{sentence}**" for sentence in sorted(set(self._seen[fault].skipped)))
        return f"| {fault.number} | {NAMES[fault.number]} | {fault.injected} | {fault.held}{notes} |\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-faults", action="store_true", help="write docs/faults.md from the outcomes of this run")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--write-faults") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Writer())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the marks where reports carry them to the process that writes."""
    for item in items:
        for mark in item.iter_markers("fault"):
            item.user_properties.append(("fault", tuple(_fault(mark.args, mark.kwargs))))


def declared() -> Iterator[Fault]:
    """Every mark that stands in the tests, read without importing them."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        source = path.read_text()
        if "mark.fault(" in source:
            yield from (_fault_of(call) for call in ast.walk(ast.parse(source)) if _is_mark(call))


def _is_mark(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.fault"


def _fault_of(call: Any) -> Fault:
    named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    return _fault([ast.literal_eval(argument) for argument in call.args], named)


def _fault(arguments: Any, named: Any) -> Fault:
    return Fault(int(*arguments), str(named["injected"]), str(named["held"]))
