"""Finds every regular expression of the product, makes bad inputs for it, and runs them
in a child process that is killed if it takes too long.

Backtracking is slow on texts that nearly match. So an input repeats a text that a part
of the pattern matches.
"""

import ast
import importlib
import os
import re
import signal
import struct
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from re import _compiler, _parser
from re import _constants as sre
from typing import Any

ROOT = Path(__file__).parents[1]
# Characters of an input.
LARGEST = 32_768
# Seconds of processor time after which an input is killed.
SECONDS = 0.3
_SKIPPED = ("tests/", "benchmarks/", "docs/")
# Methods that try a pattern at every position of a text.
_SCANNING = frozenset({"search", "sub", "subn", "findall", "finditer", "split"})
_METHODS = _SCANNING | {"match", "fullmatch"}
# Functions that get their pattern from a caller (file and variable), and such patterns.
_PASSED = {
    "audit/search/filters.py:form": [
        r"0*[1-9][0-9]*",
        r"[0-9]{1,18}",
        r"[0-9A-Za-z_.:-]{4,64}",
    ],
    "risk/check_secrets.py:shape": [r"[a-z]", r"[^A-Za-z0-9]"],
    "risk/similarity.py:name": [r"\bdana\b"],
    "gateway/inbound/receive.py:is_hard": [r"(?<![\d.])(5\d\d)(?![\d.])"],
}


@dataclass(frozen=True)
class Found:
    """A pattern with its file and line. `scans`: it is tried at every position of a
    text, not only at the first.
    """

    place: str
    pattern: "re.Pattern[Any]"
    scans: bool = True


@cache
def find_patterns():
    """Return all patterns of the product, and the calls of `re` whose pattern could not
    be found out.
    """
    listed = subprocess.run(
        ["git", "ls-files", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    trees = {
        name: ast.parse((ROOT / name).read_text(encoding="utf-8"))
        for name in listed.stdout.split()
        if not name.startswith(_SKIPPED) and "/migrations/" not in name
    }
    uses = _methods_used(trees)
    patterns = []
    unknown = []
    for name, tree in trees.items():
        calls = [node for node in ast.walk(tree) if _is_call_of_re(node)]
        if calls:
            module = importlib.import_module(
                name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            )
            by_id = {id(one): one for one in _patterns_in(vars(module).values())}
            patterns += [Found(name, one) for one in by_id.values()]
            for call in calls:
                _add(name, call, module, tree, uses, patterns, unknown)
    return _each_once(patterns), unknown


def _each_once(found):
    """Return each pattern of a file once, with how it is used if known."""
    known = {}
    for one in found:
        known[one.place.partition(":")[0], one.pattern.pattern, one.pattern.flags] = one
    return list(known.values())


def _patterns_in(values, depth=0):
    for value in values:
        if isinstance(value, re.Pattern):
            yield value
        elif isinstance(value, dict) and depth < 3:
            yield from _patterns_in(value.values(), depth + 1)
        elif isinstance(value, tuple | list) and depth < 3:
            yield from _patterns_in(value, depth + 1)


def _methods_used(trees):
    """Return the methods of patterns that are called on each variable name, by (file,
    name). The file is empty for names that are not private.
    """
    used = defaultdict(set)
    for place, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in _METHODS:
                owner = node.value
                name = getattr(owner, "id", getattr(owner, "attr", ""))
                used[place if name.startswith("_") else "", name].add(node.attr)
    return used


def _is_call_of_re(node):
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    owner = node.func.value
    return (
        isinstance(owner, ast.Name)
        and owner.id == "re"
        and node.func.attr in _METHODS | {"compile"}
    )


# Adds the patterns of one call of `re` to `found`, or the call to `unknown`.
def _add(name, call, module, tree, uses, found, unknown):
    method = call.func.attr
    arguments = call.args if method == "compile" else call.args[:1]
    compiled = f"re.compile({', '.join(map(ast.unparse, arguments))})"
    try:
        patterns = [eval(compiled, dict(vars(module)))]
    except NameError as error:
        # A pattern compiled in a comprehension is found among the module's values.
        key = f"{name}:{error.name}"
        if _is_in_function(call, tree) and key not in _PASSED:
            unknown.append(f"{key} in {ast.unparse(call.args[0])}")
        patterns = map(re.compile, _PASSED.get(key, []))
    target = next(
        (
            one.targets[0]
            for one in ast.walk(tree)
            if isinstance(one, ast.Assign) and one.value is call
        ),
        None,
    )
    variable = getattr(target, "id", "")
    methods = (
        {method}
        if method != "compile"
        else uses.get((name if variable.startswith("_") else "", variable), set())
    )
    scans = not methods or bool(methods & _SCANNING)
    for pattern in patterns:
        found.append(Found(f"{name}:{call.lineno}", pattern, scans))


def _is_in_function(call, tree):
    functions = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return any(call is inner for function in functions for inner in ast.walk(function))


# --- Inputs ---------------------------------------------------------------------------


@cache
def parts_of(pattern):
    """Return texts that parts of a pattern match: each part alone, and together with
    the parts before it.
    """
    texts = {}

    def visit(tree):
        before = ""
        for operator, argument in tree:
            sample = _sample([(operator, argument)])
            for one in (sample, before + sample):
                if 0 < len(one) <= 400:
                    texts.setdefault(one)
            before += sample
            for inner in _inner(operator, argument):
                visit(inner)

    # Without the flag UNICODE: compiled patterns for text have it, and the parser
    # refuses it for bytes.
    visit(_parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE))
    return tuple(texts)


def _inner(operator, argument):
    if operator is sre.BRANCH:
        return list(argument[1])
    if operator in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        return [argument[2]]
    if operator is sre.SUBPATTERN:
        return [argument[3]]
    if operator in (sre.ASSERT, sre.ASSERT_NOT):
        return [argument[1]]
    return [argument] if operator is sre.ATOMIC_GROUP else []


def _sample(tree):
    """Return a short text that these parts of a pattern match."""
    text = ""
    for operator, argument in tree:
        if operator is sre.LITERAL:
            text += chr(argument)
        elif operator in (sre.ANY, sre.NOT_LITERAL):
            text += "b" if argument == ord("a") else "a"
        elif operator is sre.IN:
            text += _member_of(argument)
        elif operator is sre.BRANCH:
            text += _sample(argument[1][0])
        elif operator in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            text += _sample(argument[2]) * max(1, min(argument[0], 64))
        elif operator is sre.SUBPATTERN:
            text += _sample(argument[3])
        elif operator is sre.ATOMIC_GROUP:
            text += _sample(argument)
        elif operator is sre.AT and argument is sre.AT_BOUNDARY:
            text += " "
    return text


def _member_of(members):
    """Return a character that a set such as [a-z] matches."""
    operator, argument = members[0]
    if operator is sre.LITERAL:
        return chr(argument)
    if operator is sre.RANGE:
        return chr(argument[0])
    member = _compiler.compile(_parser.SubPattern(_parser.State(), [(sre.IN, members)]))
    return next(filter(member.match, "a0 -.,;!\"'<>()\n"), "a")


def repeated(one):
    """Return an input that nearly matches: a text many times, and a character at its
    end that no pattern expects.
    """
    return one * max(1, (LARGEST - 1) // len(one)) + "\x00"


# --- The process that is killed -------------------------------------------------------


def first_too_slow(cases):
    """Run each pattern on its input in a child process. Return the index of the first
    that takes too long; None if none does.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        # The signal's default action ends the process even within one call of the
        # matcher.
        signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
        for number, (found, text) in enumerate(cases):
            is_bytes = isinstance(found.pattern.pattern, bytes)
            os.write(writing, struct.pack("<I", number))
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
            _run(found, text.encode("latin-1", "replace") if is_bytes else text)
        os._exit(0)
    os.close(writing)
    last = b""
    while piece := os.read(reading, 4096):
        last = (last + piece)[-4:]
    os.close(reading)
    _, status = os.waitpid(child, 0)
    return struct.unpack("<I", last)[0] if status else None


def _run(found, subject):
    if found.scans:
        for _ in found.pattern.finditer(subject):
            pass
    else:
        found.pattern.match(subject)
        found.pattern.fullmatch(subject)
