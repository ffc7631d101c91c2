"""Words that were replaced on pages, cards, mails and errors do not come back;
docs/glossary.md has those that stay.
"""

import ast
import re

import pytest

from tests.house.test_house_rules import (
    ROOT,
    SOURCES,
    parsed,
    pytestmark,  # noqa: F401
)

COMMENTS = {
    ".html": re.compile(
        r"\{#.*?#\}|\{% comment.*?endcomment %\}|<!--.*?-->", re.DOTALL
    ),
    ".js": re.compile(r"^\s*//[^\n]*|/\*.*?\*/", re.DOTALL | re.MULTILINE),
}
REPLACED = (
    r"\bsend(?:s|ing)? back\b|\bsent back\b",  # Request changes
    r"\bhanded over\b",  # Sent
    r"\btook it back\b",  # Withdrawn
    r"\bput it off\b|\bbrings? back\b",  # Snooze
    r"\bstands in mine\b",
    r"\bahead of reading\b|\bpast the desk\b",
    r"\bhow the ledger stands\b|\byounger than it\b",
    r"\bcut tail\b|\bplayed.back\b",
    r"\btook no test\b|\bso long a decision\b|\bthat is nobody\b|\bnobody's\b|\bit seems\b",
    r">\s*leave it\s*<|\bdo nothing, go back\b|\bdo not approve\b",
    r"\bmust stay inside\b|\ba person answers this\b|\bnot true, or not known\b",
    r"\btaking it is noted\b|\btake (?:it as|history out|out those)\b",
    r"\bwaiting from the same\b(?! source)|\bmessages wait for a decision\b",
    r"\bwho may be written to\b|\bwatch only\b|\bis told when\b|\bwho is told\b",
    r"\btaken on by\b|\bseen in it\b",
    r"\blet multimail call\b|\bbe told in discord\b|\bfirst letter\b|\bthe same letter\b",
    r"\bkinds? of act\b|\bpage that checks itself\b|\btext for an email\b",
    r"\bwhat the desk refused\b|\bwhat was caught\b|\bwho decides\b",
    r"\btries it once more\b|\blet be\b|\bcame of it\b",
    r"\btwo admins for loosening\b|\bno thread to compare\b|\bfixed patterns\b|\btriggered by\b",
    r"\bitems that need a person\b|\bfigures of single people\b|\bsent mail waits\b",
    r"\bmust hold together\b|\bmake link\b|\bcomplete as of\b|\bends \(utc\)|\bempty for never\b",
    r"\bits bytes are\b|\bis declared as\b|\bstarted by\b|>\s*(?:ruling|origin|because of|given up)\s*<",
    r"\bcap is passed\b|\brefused at the gate\b|\bthings? needs? a person\b|\bmake them at\b",
    r"\bwhoever has it\b(?!,)|\bwhoever runs\b|\bend before its beginning\b|\bwho answers for\b",
    r"\bonly answers\b|\blate, then oldest\b|>\s*ends\s*<|>until the end of<|\bcorrected the message\b",
    r"\bnone of this mailbox\b|\bof yours\b|\bsay so on\b|>\s*end them\s*<",
)
# Of lower case, in which texts are searched: that takes a third of the time.
FORBIDDEN = re.compile("|".join(REPLACED))


def strings_of(path):
    """Yield the strings of a module that are no docstrings, and of an f-string its
    parts.
    """
    tree = parsed(path)
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    first = [
        node.body[0]
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body
    ]
    docstrings = {id(one.value) for one in first if isinstance(one, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ):
            yield node.value


def texts():
    for path in SOURCES:
        yield path, "\n\n".join(strings_of(path))
    for folder, suffix in (("templates", ".html"), ("static/js", ".js")):
        for path in (ROOT / folder).rglob(f"*{suffix}"):
            yield path, COMMENTS[suffix].sub("", path.read_text())


@pytest.mark.slow
def test_replaced_words_do_not_come_back():
    found = [
        f"{path.relative_to(ROOT)}: {found[0]!r}"
        for path, text in texts()
        for found in FORBIDDEN.finditer(" ".join(text.lower().split()))
    ]
    assert found == []
