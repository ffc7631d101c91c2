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
    # Names in the files of other programs.
    ("mirror/attachments/renderings/documents.py", "AlternateContent"),
    ("mirror/attachments/renderings/office.py", "External"),
    ("mirror/attachments/renderings/pictures.py", "UserComment"),
    # With these Pydantic begins its sentences, and names types.
    ("gateway/api/bodies.py", "Value error, "),
    ("gateway/api/bodies.py", "List"),
    ("gateway/api/bodies.py", "Set"),
    ("gateway/api/bodies.py", "Dictionary"),
    # A type of Python.
    ("policy/rules/facts.py", "None"),
    # Somebody looks for words among those on the page.
    ("static/js/sections.js", ".textContent.toLowerCase().includes("),
    # Words that are there already are not written, and so not said, again.
    ("static/js/bulk.js", ".textContent !=="),
}
METHODS = {"startswith", "endswith", "removeprefix", "removesuffix", "split"}
METHODS |= {"partition", "rpartition", "index", "count", "replace"}
# What there is for people: of these a single word is enough.
SHOWN = re.compile(
    r"(\.(word|words|label|title|sentence|detail)|_display\(\)|str\(error\))$"
)
# Where a name is looked for, not words.
NAMED = re.compile(r"(headers|response|fields|environ)$")


def is_sentence(value):
    """Words with a capital, or with the full stop of a sentence."""
    if not isinstance(value, str) or " " not in value.strip():
        return False
    return bool(re.search(r"[A-Z]", value)) or value.endswith(".")


def is_part(value):
    """Part of a sentence, as a search in it would name; no markup."""
    return (
        " " in value.strip() and bool(re.search(r"[a-z]{2}", value)) and value[0] != "<"
    )


def is_word(value):
    return bool(re.fullmatch(r"[A-Z][a-z]{2}[A-Za-z-]*", value))


def texts_in(node):
    """Yield the texts of an expression; in an f-string a word stands for each value."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        for one in node.elts:
            yield from texts_in(one)
    elif isinstance(node, ast.Name):
        yield node
    elif isinstance(node, ast.JoinedStr):
        parts = [
            one.value if isinstance(one, ast.Constant) else "x" for one in node.values
        ]
        yield "".join(parts)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


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
    """Yield what a module compares with sentences, looks for in them, or looks up by
    them: the sentence's name or text.
    """
    named = named_everywhere() | sentences_named(tree)
    for node in ast.walk(tree):
        operands, is_search, is_shown = [], False, False
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            many = ast.Tuple | ast.List | ast.Set
            is_in = isinstance(node.ops[0], ast.In | ast.NotIn)
            is_search = is_in and not isinstance(node.comparators[0], many)
            is_shown = any(SHOWN.search(ast.unparse(one)) for one in operands)
            if NAMED.search(ast.unparse(node.comparators[0])):
                continue
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            whose = ast.unparse(node.func.value)
            if node.func.attr not in METHODS or whose == "re":
                continue
            operands, is_search = list(node.args), True
            is_shown = bool(SHOWN.search(whose))
        elif isinstance(node, ast.Subscript):
            if SHOWN.search(ast.unparse(node.slice)):
                yield path, ast.unparse(node)
        elif isinstance(node, ast.MatchValue):
            operands = [node.value]
        for text in (text for one in operands for text in texts_in(one)):
            if isinstance(text, ast.Name):
                said = text.id if text.id in named else ""
            else:
                is_found = (
                    is_sentence(text)
                    or is_word(text)
                    or (is_shown and re.search("[a-z]", text))
                )
                said = text if is_found or (is_search and is_part(text)) else ""
            if said:
                yield path, said


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


IN_TEMPLATES = re.compile(r"""\{%\s*(?:el)?if\s(?:[^%]|%(?!\}))*%\}""")


def compared_in_template(path, text):
    """Yield what the conditions of a template compare with words for people."""
    for condition in IN_TEMPLATES.findall(text):
        words = re.findall(r"""["']([^"']*)["']""", condition)
        shown = re.search(r"\.(word|words|label|title) (==|!=|in|not in) ", condition)
        for said in words:
            if is_sentence(said) or is_part(said) or is_word(said) or shown:
                yield path, said


IN_SCRIPTS = re.compile(
    r"""[!=]==?\s*(["'`])(?P<after>[^"'`]*)\1|(["'`])(?P<before>[^"'`]*)\3\s*[!=]==?"""
    r"""|\.(?:startsWith|endsWith|includes)\((["'`])(?P<part>[^"'`]*)\5\)|case (["'`])(?P<case>[^"'`]*)\7"""
)
# What stands on the page, where something is looked for in it, or it is compared.
ON_PAGE = r"\.(?:textContent|innerText|ariaLabel)\b"
READ_ON_PAGE = re.compile(
    rf"(?:[!=]==?[^;,&|]*|\.(?:exec|test)\([^;]*){ON_PAGE}"
    rf"|{ON_PAGE}[^;,&|]*(?:[!=]==?|\.(?:startsWith|endsWith|includes|match|split)\()"
)
# In scripts a single word with a capital is a word for people, too, but for the names
# of keys that the browser gives.
KEYS = {*"Enter Escape Shift Tab Backspace Control".split()}


def compared_in_script(path, text):
    """Yield what a script compares with words for people."""
    for found in IN_SCRIPTS.finditer(text):
        said = next(filter(None, found.group("after", "before", "part", "case")), "")
        said = re.sub(r"\$\{[^}]*\}", "x", said)
        is_name = re.match(r"[A-Z][a-z]", said) and said not in KEYS
        if is_name or is_sentence(said) or is_part(said or " "):
            yield path, said
    for found in READ_ON_PAGE.finditer(text):
        yield path, found[0]


def test_nothing_is_compared_with_a_sentence():
    found = [
        one for path in SOURCES for one in compared_in(relative(path), parsed(path))
    ]
    for path in sorted((ROOT / "templates").rglob("*.html")):
        found += compared_in_template(relative(path), path.read_text())
    for path in sorted((ROOT / "static").rglob("*.js")):
        if "vendor" not in path.parts:
            found += compared_in_script(relative(path), path.read_text())
    assert set(found) == FOREIGN


def test_comparisons_with_sentences_are_found():
    broken = """
LEFT = "It left."
state == "Not carried out"
state in ("held", "Changes requested")
why.startswith(LEFT)
"is late." in why
row.status.word == "Held"
"Timeout" in str(error)
reached.endswith(" of 1")
detail.startswith(f"{status.word} by ")
field.label == "To"
name == "Oversight"
FOR_ALL[act.label]
"""
    assert len(list(compared_in("x.py", ast.parse(broken)))) == 11
    codes = """
state == "held"
"Retry-After" in answer.headers
"<img " in document
name.endswith("_key")
"""
    assert not list(compared_in("x.py", ast.parse(codes)))
    template = """
{% if name == "Oversight" %}{% elif part.label == "original" %}
{% if state == "Not carried out" %}{% if "of 1" in reached %}
{% if state == "held" %}{% if "/rules/" in path %}
"""
    assert len(list(compared_in_template("x.html", template))) == 4
    script = """
word === "Held"; "Held again" !== text; word.startsWith("May still"); text === `${word} by ${name}`;
box.textContent === other.textContent; title.textContent.includes("held"); /[0-9]+/.exec(place.textContent);
key === "Enter"; code === "held"; place.textContent = "Held";
"""
    assert len(list(compared_in_script("x.js", script))) == 7
