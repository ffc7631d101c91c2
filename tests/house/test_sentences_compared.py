"""What a row or an answer means is read from codes, never from the words that people
read: other words would change what stored rows mean.
"""

import ast
import re
from functools import cache

from tests.house.test_house_rules import (
    ROOT,
    SOURCES,
    parsed,
    pytestmark,  # noqa: F401
    relative,
)

# What is compared with texts that others word, or that were sent to them.
FOREIGN = {
    # Python's own first line of a traceback, in what a process printed.
    ("launcher/child.py", "Traceback (most recent call last):"),
    # A reason that the trial of a host sent, and looks for in its answer.
    ("connections/hosted/sandbox.py", "_REASON"),
    # The mark of a name that the desk sent, which MultiMail gives back.
    ("common/references.py", "_VIA"),
    ("mirror/attachments/detection.py", "-----BEGIN PGP MESSAGE"),
    ("mirror/attachments/detection.py", "-----BEGIN PGP SIG"),
    ("mirror/attachments/renderings/office.py", "_CHUNK"),
    # The field of a post by which Discord's own copy of it names the message.
    ("alerts/channels/discord/embeds.py", "Message ID"),
}
METHODS = {"startswith", "endswith", "removeprefix", "removesuffix", "partition"}


def is_sentence(value):
    """Words with a capital, or with the full stop of a sentence."""
    if not isinstance(value, str) or " " not in value.strip():
        return False
    return bool(re.search(r"[A-Z]", value)) or value.endswith(".")


def sentences_named(tree):
    """The names that a module gives to sentences."""
    names = set()
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
            continue
        has_one = isinstance(node.value, ast.Constant) and is_sentence(node.value.value)
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if has_one:
            names.update(one.id for one in targets if isinstance(one, ast.Name))
    return names


def compared_in(path, tree):
    """Yield what a module compares with sentences: the line, and the sentence's name
    or text.
    """
    named = named_everywhere() | sentences_named(tree)
    for node in ast.walk(tree):
        operands = []
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            # One word is enough where it is compared with what is there for people.
            written = [ast.unparse(one) for one in operands]
            is_text = any(one.endswith((".word", "str(error)")) for one in written)
            if is_text and any(isinstance(one, ast.Constant) for one in operands):
                yield f"{path}:{node.lineno}: {ast.unparse(node)}"
                continue
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            # Pydantic begins its sentences with words of its own.
            is_pydantic = ast.unparse(node).find("'Value error, '") >= 0
            if node.func.attr in METHODS and not is_pydantic:
                operands = list(node.args)
        for one in operands:
            many = ast.Tuple | ast.List | ast.Set
            for part in one.elts if isinstance(one, many) else [one]:
                said = ""
                if isinstance(part, ast.Constant) and is_sentence(part.value):
                    said = part.value
                elif isinstance(part, ast.Name) and part.id in named:
                    said = part.id
                if said and (path, said) not in FOREIGN:
                    yield f"{path}:{node.lineno}: {said}"


# Of names that several modules use, only those that are sentences wherever they stand.
@cache
def named_everywhere():
    sentences, others = set(), set()
    for path in SOURCES:
        tree = parsed(path)
        found = sentences_named(tree)
        sentences |= found
        for node in tree.body:
            if isinstance(node, ast.Assign):
                names = {one.id for one in node.targets if isinstance(one, ast.Name)}
                others |= names - found
    return sentences - others


IN_SCRIPTS = re.compile(
    r"""[!=]==?\s*(["'`])(?P<after>[^"'`]*)\1|(["'`])(?P<before>[^"'`]*)\3\s*[!=]==?"""
    r"""|\.(?:startsWith|endsWith|includes)\((["'`])(?P<part>[^"'`]*)\5\)"""
)
# In scripts a single word with a capital is a word for people, too, but for the names
# of keys that the browser gives.
KEYS = {*"Enter Escape Shift Tab Backspace Control".split()}


def compared_in_script(path, text):
    """Yield what a script compares with words for people."""
    for found in IN_SCRIPTS.finditer(text):
        said = found["after"] or found["before"] or found["part"] or ""
        is_word = re.match(r"[A-Z][a-z]", said) and said not in KEYS
        if is_word or is_sentence(said):
            yield f"{path}: {said}"


def test_nothing_is_compared_with_a_sentence():
    found = [
        one for path in SOURCES for one in compared_in(relative(path), parsed(path))
    ]
    for path in sorted((ROOT / "static").rglob("*.js")):
        if "vendor" not in path.parts:
            found += compared_in_script(relative(path), path.read_text())
    assert found == []


def test_comparisons_with_sentences_are_found():
    broken = """
LEFT = "It left."
state == "Not carried out"
state in ("held", "Changes requested")
why.startswith(LEFT)
"is late." in why
row.status.word == "Held"
"Timeout" in str(error)
state == "held"
"""
    assert len(list(compared_in("x.py", ast.parse(broken)))) == 6
    script = """
word === "Held"; "Held again" !== text; word.startsWith("May still");
key === "Enter"; code === "held";
"""
    assert len(list(compared_in_script("x.js", script))) == 3
