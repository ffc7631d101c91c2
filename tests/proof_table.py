"""What the tests prove, line by line, and the page docs/proofs.md that names the tests of each line.

A test says what it proves with `@pytest.mark.proves("security 17")`. `python -m tests.proof_table` writes the page from
the marks; `tests/house/test_proofs.py` compares it with them and looks for lines without a test in the ordinary run.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "proofs.md"
# What `./run test` leaves out.
RARE = {"slow", "soak"}

PROMISES = {
    1: "A held message is never sent without the decision of a person, or of a standing approval that two signed.",
    2: "The message that is sent is the one that was reviewed.",
    3: "A decision takes effect at most once and is never lost.",
    4: "Opening, prefetching or unfurling a link never decides.",
    5: "One message, one decision from any surface; the second person learns who was first.",
    6: "The queue is complete, and shows as of when.",
    7: "History cannot be altered without detection.",
    8: "Hostile mail cannot harm the reviewer.",
    9: "When in doubt, nothing is sent.",
    10: "Alerts stay quiet: one card per message, nobody is pinged, limits are obeyed.",
}
SECURITY = {
    1: "A webhook's signature is checked over the raw bytes, before anything is parsed.",
    2: "A missing, doubled or malformed signature is 401, and nothing is stored.",
    3: "Two signing secrets hold during a rotation; an ended one does not.",
    4: "Webhook bodies that are too large, too deep or not JSON are refused within bounded memory.",
    5: "A replayed webhook has no second effect.",
    6: "A signed but old webhook is kept as late and cannot reopen a decided message.",
    7: "Unknown webhook events are accepted; a known one with wrong types is quarantined where people see it.",
    8: "A webhook address is unguessable and bound to one connection's secret.",
    9: "Webhook addresses take only POST with JSON, and ignore cookies.",
    10: "Limits on unsigned webhooks never hold up signed ones.",
    11: "Logs hold no body and no signature, and cannot be forged by line breaks.",
    12: "Outgoing calls go to allowed hosts, over https, without redirects.",
    13: "Private addresses cannot be reached in any notation, nor by a changed DNS answer.",
    14: "Outgoing calls have time limits and a size limit.",
    15: "Proxies of the environment are ignored, and secret addresses are masked.",
    16: "Only POST with a form token decides.",
    17: "A verdict on content that changed is refused, and the difference is shown.",
    18: "Of two verdicts at once one wins, and the other learns who, what and when.",
    19: "Permission is checked again when a decision is carried out.",
    20: "A key that can send cannot decide, and only the oversight key decides.",
    22: "Bulk approval is bounded, lists each message, asks to confirm, and records each one.",
    23: "Approvals faster than reading are shown to admins and not blocked.",
    24: "The undo window lies before the call, and nothing claims to recall sent mail.",
    25: "The kill switch stops decide calls within a second and is recorded.",
    26: "The message body is sanitised, in a sandboxed frame with its own policy.",
    27: "No request leaves the page of a hostile message.",
    28: "A message's styles reach nothing outside its frame.",
    29: "Remote pictures are not fetched.",
    30: "Text and HTML parts that differ are shown as different.",
    31: "Hidden text is shown and marked.",
    32: "Invisible characters and lookalike domains are named.",
    33: "A display name that looks like another address is flagged; the address comes first.",
    34: "Links show their true target, and a mismatch is flagged.",
    35: "Attachments are served so that nothing in them runs, and odd names are flagged.",
    36: "Message text reaches pages only escaped.",
    37: "Malformed or huge headers neither crash nor hide content.",
    38: "Hostile input of a megabyte costs linear time.",
    39: "A second factor can be required, and nothing goes around it.",
    40: "Sign-in is rate limited and does not reveal accounts.",
    41: "Sensitive acts ask to confirm who one is after ten minutes.",
    42: "Sessions change at sign-in, end as limits say, and can be listed and ended.",
    43: "Cookies are Secure, HttpOnly and SameSite, and foreign origins are refused.",
    44: "Passwords follow length and breach rules, without rules of composition.",
    45: "One-time codes and recovery codes work once.",
    46: "Invitations expire, work once, and are bound to the address.",
    47: "Every address refuses who may not open it.",
    48: "A message of others' mailboxes answers as one that does not exist.",
    49: "Messages are read through one door that knows what a person may see.",
    50: "Unknown form fields have no effect.",
    51: "Every answer carries the content security policy and the other security headers.",
    52: "Pages with mail are not stored by the browser, and signing out clears what is.",
    53: "Nothing is loaded from third parties.",
    54: "The deployment check is clean; hosts and proxies are explicit.",
    55: "Secrets are encrypted at rest and appear in no dump.",
    56: "Exported cells cannot become formulas.",
    57: "The application's database role cannot alter the ledger.",
    58: "Sign-ins, refusals, reads, decisions, settings and exports are recorded.",
    59: "Personal details can be removed, and the ledger still verifies.",
    60: "Discord gets no body, no mention and no markup of the message.",
    63: "The whole review works by keyboard, and keys never act while typing.",
    64: "Focus stays visible and is not lost; changes are announced.",
    65: "Targets, contrast, zoom, 320 pixels and reduced motion hold.",
    66: "Errors keep what was typed, and no page has an accessibility violation.",
}
CASES = {
    1: "Two people approve the same version at once.",
    2: "The content changes upstream between approval and call.",
    3: "The 51st waiting message is reached by links alone.",
    4: "A message held while another waits still alerts.",
    5: "An alert that fails once is tried again, and shown as failed meanwhile.",
    6: "A worker is killed between claim and answer.",
    7: "A rejection without a reason is refused; one with a reason reaches the agent.",
    8: "A body with every kind of remote load makes no request.",
    9: "A subject with a line break and a Bcc header is refused.",
    10: "A subject with mentions and Markdown is shown literally on the card.",
    11: "GET, HEAD and prefetch of every link change nothing.",
    12: "A link opened signed out leads to sign-in and back, undecided.",
    13: "A press by somebody who is not linked is refused privately and recorded.",
    14: "Discord's 429 is waited out, in order, one card a message.",
    15: "A decision on the web edits the card; a deleted card does no harm.",
    16: "An ill-formed cursor, id or date in an address is never a 500.",
    17: "Of a batch of five with one stale, four are done and one is named.",
    18: "A conflict while typing a reason keeps the text.",
    19: "One idempotency key never makes two messages.",
    20: "Every spelling of status, event and field gives the same stored state.",
    21: "Lookalikes of an allowed domain are judged right, in Cc and Bcc too.",
    22: "An allowlist entry that ends between approval and sending refuses the message.",
    23: "An idle claim frees the message for others.",
    24: "Text and HTML parts with different amounts are flagged.",
    25: "No path sends an expired message.",
    26: "Shortcut keys do nothing in a field, with a modifier or during composition.",
    27: "Without scripts one can list, read, decide and search.",
    28: "Twenty threads append to the ledger, and it verifies; a cut tail is found.",
}
CONTRACT = {
    1: "Every method of the Python package runs, sync and async.",
    2: "Lists of an empty account are lists.",
    3: "Every tool of the MCP server returns content.",
    4: "Automation clients pass with X-API-Key alone.",
    5: "Both shapes of sending work on bare and /v1 paths.",
    6: "No API address answers with an empty body, a redirect or HTML.",
    7: "No key, a bad key or a revoked key is 401 with an error.",
    8: "Each missing scope is 403.",
    9: "A key with send and oversight cannot be made.",
    10: "Other accounts' ids are 404.",
    11: "429 carries a numeric Retry-After and the right form.",
    12: "Empty bodies are accepted; broken JSON is 400, a bad field 422.",
    13: "A send is accepted for scanning and then waits.",
    14: "Each oversight mode does what it says.",
    15: "A flat send answers queued, and metadata comes back.",
    16: "A single send can tighten the mode, and loosen it only where allowed.",
    17: "A single read marks as read; lists do not.",
    18: "Lists are ordered, bounded and walked whole by cursor.",
    19: "Message ids sort in order of creation.",
    20: "Each alias of a field has the same value.",
    21: "Odd tag keys, addresses and file names work.",
    22: "Attachments come back byte for byte.",
    23: "Pending shows the same rows by every key and dialect.",
    24: "An approval delivers once and says who and when.",
    25: "A rejection delivers nothing and keeps its reason.",
    26: "A second decision is 409.",
    27: "Of an approval and a cancellation at once, one wins.",
    28: "The key that composed cannot decide.",
    29: "Scheduled messages keep to both gate timings.",
    30: "An approved scheduled message's content cannot be edited; its time can.",
    31: "Under gated_all incoming mail is unreadable before approval.",
    32: "Upgrades need the overseer's code.",
    33: "A restriction list refuses outsiders and stays closed when it empties.",
    34: "A bypass list sends only when everybody is on it.",
    35: "One idempotency key gives one message.",
    36: "Twenty sends at once with one key give one message.",
    37: "The same content within a minute is 409.",
    38: "Sandbox mail never leaves, and live keys of agents do not see it.",
    39: "Webhook signatures cover the exact bytes.",
    40: "Webhook bodies satisfy all four variants.",
    41: "A subscription by an alias gets that spelling.",
    42: "Webhooks are tried again with the same bytes, then failed.",
    43: "The caller's secret is used, and lists hide it.",
    44: "The desk accepts every webhook variant and both forms of signature.",
    45: "The desk refuses a wrong or missing signature.",
    46: "A webhook that comes twice makes one row; a closed message is not reopened.",
    47: "Unknown events are 200; a body that is no object is 400.",
    48: "Every answer to a decide call ends in the right state.",
    49: "Reconciliation restores and closes what webhooks did not tell.",
    50: "What is displayed is escaped; who, when and why is kept for each decision.",
}
STATES = {
    1: "Every state of a mirrored message with every event.",
    2: "Every state of a decision with every event.",
    3: "Every status of a gateway's email with every change.",
}
LINES = {
    f"{kind} {number}": sentence
    for kind, sentences in {
        "promise": PROMISES,
        "security": SECURITY,
        "case": CASES,
        "contract": CONTRACT,
        "states": STATES,
    }.items()
    for number, sentence in sentences.items()
}
_HEAD = """# Which test proves what

Each line has at least one test in the ordinary run; tests marked * run with `./run test --all` only. Faults have a page
of their own, [faults.md](faults.md). `python -m tests.proof_table` writes this page from the marks in the tests.

| line | what holds | tests |
|---|---|---|
"""


class Proof(NamedTuple):
    """One mark: the line, the test's file and name, and whether the ordinary run includes it."""

    line: str
    test: str
    is_ordinary: bool


def declared() -> Iterator[Proof]:
    """Every mark that stands in the tests, read without importing them."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        source = path.read_text()
        if "mark.proves(" in source:
            yield from _proofs_of(ast.parse(source), path.relative_to(ROOT / "tests").as_posix())


def _proofs_of(module: ast.Module, name: str) -> Iterator[Proof]:
    of_module = [mark for node in module.body if _assigns_marks(node) for mark in _marks_in(node)]
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            marks = of_module + [mark for decorator in node.decorator_list for mark in _marks_in(decorator)]
            is_ordinary = not RARE & {_name_of(mark) for mark in marks}
            for mark in marks:
                if isinstance(mark, ast.Call) and _name_of(mark) == "proves":
                    lines = [ast.literal_eval(argument) for argument in mark.args]
                    yield from (Proof(line, f"{name}::{node.name}", is_ordinary) for line in lines)


def _assigns_marks(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"


def _marks_in(node: ast.AST) -> list[ast.expr]:
    """The marks that stand directly in a decorator or an assignment; those of single parameters are left out."""
    if isinstance(node, ast.Assign):
        values = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value]
        return list(values)
    assert isinstance(node, ast.expr)
    return [node]


def _name_of(mark: ast.expr) -> str:
    return ast.unparse(mark.func if isinstance(mark, ast.Call) else mark).rpartition(".")[2]


def text() -> str:
    """Return the page."""
    tests: dict[str, list[str]] = defaultdict(list)
    for proof in declared():
        tests[proof.line].append(f"`{proof.test}`{'' if proof.is_ordinary else '*'}")
    rows = [f"| {line} | {sentence} | {'<br>'.join(sorted(tests[line]))} |\n" for line, sentence in LINES.items()]
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(text())
