"""Finds every regular expression of the product, makes bad inputs for it, and finds out
by processor time whether it takes more than its input is long.

Backtracking is slow on texts that nearly match. So an input is what the pattern expects
before a repetition, a text that is repeated, and a character at which it fails. The
characters are one from each class between which the pattern's repetitions distinguish,
among them blanks, letters and digits beyond ASCII.
"""

import ast
import importlib
import mmap
import os
import re
import signal
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from re import _compiler, _parser
from re import _constants as sre
from typing import Any

from gateway.smtp import _CAUSES_BY_WORDS
from simple_form.declarations import _STAND_FOR
from simple_form.elements import _EFFECTS
from simple_form.simplify import _LEFT_OUT, _LONG
from tests.commands import run_command

ROOT = Path(__file__).parents[1]
# Characters of an input.
LENGTH = 2_000
# Seconds of processor time: a shorter run is not examined further.
QUICK = 0.0005
# An input that is eight times as long may take so many times as long. Quadratic time is
# 64 times as long.
MOST_TIMES = 24
# Seconds after which a run is given up. By the clock of the wall: while a timer of
# processor time runs, Linux tells processor time only in steps of some milliseconds.
HANGS = 10
_SKIPPED = ("tests/", "benchmarks/", "docs/")
METHODS = "match fullmatch search sub subn findall finditer split".split()
# Methods that try a pattern at every position of a text.
_SCANNING = METHODS[2:]
# Patterns that a function gets from a caller, or that are compiled in a loop and found
# among the module's values: file and variable, with examples.
_PASSED = {
    "audit/search/filters.py:form": [
        r"0*[1-9][0-9]*",
        r"[0-9]{1,18}",
        r"[0-9A-Za-z_.:-]{4,64}",
    ],
    "risk/check_secrets.py:shape": [r"[a-z]", r"[^A-Za-z0-9]"],
    "mirror/attachments/detection.py:pattern": [],
    "risk/check_secrets.py:line": [],
    "risk/similarity.py:name": [r"\bdana\b"],
    "gateway/inbound/receive.py:is_hard": [r"(?<![\d.])(5\d\d)(?![\d.])"],
    "gateway/smtp.py:words": _CAUSES_BY_WORDS[1::2],
    "simple_form/html_reading.py:name": [],
    "simple_form/simplify.py:long": [_LONG],
    "simple_form/simplify.py:letters": ["[\u0590-\u061b\u061d-\u08ff]"],
    "rendering/link_texts.py:side": ["(?:margin|padding)-left:([0-9]+)px"],
    "simple_form/declarations.py:ignored": [row[2] for row in _STAND_FOR.values()],
    "simple_form/elements.py:effect": [f"(?s){one}" for one in _EFFECTS.values()],
    "simple_form/simplify.py:pattern": [row[1] for row in _LEFT_OUT],
}
# Modules with tables of patterns that are only compared with whole values.
_IN_TABLES = (
    "simple_form/declarations.py",
    "simple_form/simplify.py",
    "rendering/render.py",
)


@dataclass(frozen=True)
class Found:
    """A pattern with its file. `scans`: it is tried at every position of a text, not
    only at the first.
    """

    place: str
    pattern: "re.Pattern[Any]"
    scans: bool = True


@cache
def find_patterns():
    """Return all patterns of the product, and the calls of `re` whose pattern could not
    be found out.
    """
    listed = run_command(["git", "ls-files", "*.py"], cwd=ROOT, check=True)
    sources = {
        name: (ROOT / name).read_text(encoding="utf-8")
        for name in listed.stdout.split()
        if not name.startswith(_SKIPPED) and "/migrations/" not in name
    }
    found = {}
    unknown = []
    for name, source in sources.items():
        if "\nimport re\n" not in source:
            continue
        module = importlib.import_module(
            name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        )
        for one in _patterns_in(vars(module).values()):
            scans = name not in _IN_TABLES
            found[name, one.pattern, one.flags] = Found(name, one, scans)
        for call in filter(_is_call_of_re, ast.walk(ast.parse(source))):
            method = call.func.attr
            arguments = call.args if method == "compile" else call.args[:1]
            written = ", ".join(map(ast.unparse, arguments))
            try:
                patterns = [eval(f"re.compile({written})", dict(vars(module)))]
            except NameError as error:
                key = f"{name}:{error.name}"
                if key not in _PASSED:
                    unknown.append(f"{key} in {written}")
                patterns = map(re.compile, _PASSED.get(key, []))
            scans = method in _SCANNING
            if method == "compile":
                line = source.splitlines()[call.lineno - 1]
                variable = line.partition(" = ")[0].strip()
                is_private = variable.startswith("_")
                users = source if is_private else "".join(sources.values())
                used = set(re.findall(rf"\b{re.escape(variable)}\.(\w+)", users))
                scans = used.isdisjoint(METHODS) or not used.isdisjoint(_SCANNING)
            for one in patterns:
                found[name, one.pattern, one.flags] = Found(name, one, scans)
    return list(found.values()), unknown


def _patterns_in(values, depth=0):
    for value in values:
        if isinstance(value, re.Pattern):
            yield value
        elif isinstance(value, dict | tuple | list) and depth < 3:
            inner = value.values() if isinstance(value, dict) else value
            yield from _patterns_in(inner, depth + 1)


def _is_call_of_re(node):
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and getattr(node.func.value, "id", "") == "re"
        and node.func.attr in ("compile", *METHODS)
    )


# --- Inputs ---------------------------------------------------------------------------

_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
_CHARACTERS = (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN)
# Repetitions of fewer times add no more than a factor.
_FEW = 20
# Longer texts are not repeated, nor put before a repetition.
_LONGEST = 200
_MOST_INPUTS = 20_000
# Of characters in one class, the first of these stands for it.
_USUAL = (
    "\u2003\u00a0\x85\x1cé\u017f\u212aı中٣½\u0301\ud800ba0 \n\tA_-.,:;/<>()@'\"\\\x00"
)


def inputs_for(pattern):
    """Return inputs, each as three texts: what comes before, what is repeated, the end."""
    # Without the flag UNICODE: compiled patterns for text have it, and the parser
    # refuses it for bytes.
    tree = _parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)
    alphabet = _alphabet(tree, pattern)
    starts = {("", one) for one in alphabet}
    for before, part in _parts(tree, "", pattern):
        starts |= {(before, one) for one in (part, *alphabet)} | {("", before + part)}
    inputs = [
        (before, repeated, end)
        for before, repeated in sorted(starts)
        if len(before) <= _LONGEST and 0 < len(repeated) <= _LONGEST
        for end in ("", *alphabet)
    ]
    return inputs[:: 1 + len(inputs) // _MOST_INPUTS]


def _alphabet(tree, pattern):
    """Return one character of each class: all of a class are in the same sets of the
    pattern's repetitions.
    """
    codes = set()
    atoms = []
    for node in _nodes(tree):
        if node[0] in _REPEATS and node[1][1] > _FEW:
            atoms += [one for one in _nodes(node[1][2]) if one[0] in _CHARACTERS]
    for atom in atoms:
        for operator, argument in atom[1] if atom[0] is sre.IN else [atom]:
            if operator is sre.RANGE:
                codes |= {argument[0] - 1, *argument, argument[1] + 1}
            elif operator in (sre.LITERAL, sre.NOT_LITERAL):
                codes |= {argument - 1, argument, argument + 1}
    by_class = {}
    for code in (*map(ord, _USUAL), *sorted(codes)):
        if 0 <= code <= (0xFF if isinstance(pattern.pattern, bytes) else 0x10FFFF):
            fits = (code == 0x0A, *(_fits(atom, chr(code), pattern) for atom in atoms))
            by_class.setdefault(fits, chr(code))
    return list(by_class.values())


def _fits(atom, character, pattern):
    """Whether a part of a pattern that stands for one character matches this one."""
    state = _parser.SubPattern(_parser.State(), [atom])
    subject = character
    if isinstance(pattern.pattern, bytes):
        subject = character.encode("latin-1", "replace")
    return bool(_compiler.compile(state, pattern.flags).match(subject))


def _parts(tree, before, pattern):
    """Yield texts that parts of a pattern match, each after what comes before it."""
    for operator, argument in tree:
        sample = _sample([(operator, argument)], pattern)
        yield before, sample
        for inner in _inner(operator, argument):
            yield before, _sample(inner, pattern)
            yield from _parts(inner, before, pattern)
        before += sample


def _sample(tree, pattern):
    """Return a short text that these parts of a pattern match."""
    text = ""
    for operator, argument in tree:
        inner = _inner(operator, argument)
        if operator is sre.LITERAL:
            text += chr(argument)
        elif operator in _CHARACTERS:
            atom = (operator, argument)
            text += next((one for one in _USUAL[13:] if _fits(atom, one, pattern)), "")
        elif operator in _REPEATS:
            text += _sample(inner[0], pattern) * max(1, min(argument[0], 64))
        elif operator is sre.AT and argument is sre.AT_BOUNDARY:
            text += " "
        elif inner and operator not in (sre.ASSERT, sre.ASSERT_NOT):
            text += _sample(inner[0], pattern)
    return text


def _nodes(tree):
    for operator, argument in tree:
        yield operator, argument
        for inner in _inner(operator, argument):
            yield from _nodes(inner)


def _inner(operator, argument):
    if operator is sre.BRANCH:
        return list(argument[1])
    if operator in _REPEATS:
        return [argument[2]]
    if operator is sre.SUBPATTERN:
        return [argument[3]]
    if operator in (sre.ASSERT, sre.ASSERT_NOT):
        return [argument[1]]
    return [argument] if operator is sre.ATOMIC_GROUP else []


# --- The process that is killed -------------------------------------------------------


def first_too_slow(found):
    """Run a pattern on its inputs in a child process. Return the first that takes more
    time than it is long; None if none does.
    """
    inputs = inputs_for(found.pattern)
    with mmap.mmap(-1, 8) as progress:
        child = os.fork()
        if child == 0:
            # The signal's default action ends the process even within one call of the
            # matcher.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            for number, one in enumerate(inputs):
                progress[:] = number.to_bytes(8)
                signal.setitimer(signal.ITIMER_REAL, HANGS)
                if not any(_is_linear(found, one) for _ in range(3)):
                    os._exit(1)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        return inputs[int.from_bytes(progress[:])] if status else None


def _is_linear(found, parts):
    seconds = _seconds(found, parts, LENGTH)
    if seconds < QUICK:
        return True
    signal.setitimer(signal.ITIMER_REAL, HANGS + 4 * MOST_TIMES * seconds)
    return _seconds(found, parts, 8 * LENGTH) <= MOST_TIMES * seconds


def _seconds(found, parts, length):
    before, repeated, end = parts
    text = before + repeated * (length // len(repeated)) + end
    if isinstance(found.pattern.pattern, bytes):
        text = text.encode("latin-1", "replace")
    began = time.process_time()
    if found.scans:
        for _ in found.pattern.finditer(text):
            pass
    else:
        found.pattern.match(text)
        found.pattern.fullmatch(text)
    return time.process_time() - began
