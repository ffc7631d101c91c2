"""Makes a message with a miss as small as it gets, by leaving out parts of it while the miss stays."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from tests.judge.letters import Letter
from tests.judge.oracles import Judge

AT_ONCE = 24
MOST_ROUNDS = 60
_TOKEN = re.compile(r"<!--.*?-->|<style\b.*?</style>|<[^<>]*>|[HMN]{6}|[^<\sHMN]+|[HMN]|\s+", re.DOTALL | re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""\s+[^\s=>"'/]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s>"']+))?""")
_STYLE = re.compile(r"""(\s+style\s*=\s*)(["'])(.*?)\2""", re.DOTALL | re.IGNORECASE)
_RULE = re.compile(r"[^{}]*\{[^{}]*\}")
_DECLARATION = re.compile(r"[^{};]+:[^{};]*;?")
_NAME = re.compile(r"</?([a-z][^\s/>]*)", re.IGNORECASE)


def shrink(judge: Judge, letter: Letter, kind: tuple[str, str]) -> Letter:
    """Return the smallest letter found that has a miss of this kind."""
    for _ in range(MOST_ROUNDS):
        smaller = _first_smaller(judge, letter, kind)
        if smaller is None:
            return letter
        letter = smaller
    return letter


def _first_smaller(judge: Judge, letter: Letter, kind: tuple[str, str]) -> Letter | None:
    candidates = _letters(letter)
    while chosen := list(islice(candidates, AT_ONCE)):
        found = [one.letter for one in judge.judge(chosen, kind) if any(miss.kind == kind for miss in one.misses)]
        if found:
            return min(found, key=lambda one: len(one.html))
    return None


def _letters(letter: Letter) -> Iterator[Letter]:
    seen = {letter.html}
    if (letter.width, letter.scheme) != (400, "light"):
        yield replace(letter, width=400, scheme="light")
    for html in _smaller(letter.html):
        if html not in seen and len(html) < len(letter.html):
            seen.add(html)
            yield replace(letter, html=html)


def _smaller(html: str) -> Iterator[str]:
    tokens = _TOKEN.findall(html)
    size = len(tokens) // 2
    while size:
        for at in range(0, len(tokens), size):
            yield "".join(tokens[:at] + tokens[at + size :])
        size //= 2
    for first, last in _pairs(tokens):
        yield "".join(tokens[:first] + tokens[last + 1 :])
        yield "".join(tokens[:first] + tokens[first + 1 : last] + tokens[last + 1 :])
    for at, token in enumerate(tokens):
        before, after = "".join(tokens[:at]), "".join(tokens[at + 1 :])
        for part in _smaller_token(token):
            yield before + part + after


def _pairs(tokens: list[str]) -> Iterator[tuple[int, int]]:
    """Yield where elements begin and end."""
    opened: list[tuple[str, int]] = []
    for at, token in enumerate(tokens):
        name = _NAME.match(token)
        if name is None:
            continue
        if token[1] != "/":
            opened.append((name[1].lower(), at))
            continue
        for number in range(len(opened) - 1, -1, -1):
            if opened[number][0] == name[1].lower():
                yield opened[number][1], at
                del opened[number:]
                break


def _smaller_token(token: str) -> Iterator[str]:
    if token.lower().startswith("<style"):
        for pattern in (_RULE, _DECLARATION):
            for found in pattern.finditer(token):
                yield token[: found.start()] + token[found.end() :]
        for around in re.finditer(r"@[^{}]*\{((?:[^{}]*\{[^{}]*\})*[^{}]*)\}", token):
            yield token[: around.start()] + around[1] + token[around.end() :]
        yield re.sub(r"<style[^>]+>", "<style>", token, flags=re.IGNORECASE)
        for important in re.finditer(r"\s*!important", token):
            yield token[: important.start()] + token[important.end() :]
        for selector in re.finditer(r"([.#]?[\w-]+)[^{};,]+\{", token):
            yield token[: selector.start()] + selector[1] + "{" + token[selector.end() :]
    elif token.startswith("<") and token[1:2].isalpha():
        for found in _ATTRIBUTE.finditer(token):
            yield token[: found.start()] + token[found.end() :]
        if style := _STYLE.search(token):
            parts = style[3].split(";")
            for at in range(len(parts)):
                left = ";".join(parts[:at] + parts[at + 1 :])
                yield token[: style.start(3)] + left + token[style.end(3) :]
    elif token.isspace() and len(token) > 1:
        yield " "
