"""Records how long the texts are that patterns read in this process, which is neither
the parser's nor of its parts.
"""

import re
import sys

from tests.pattern_inputs import ROOT

# Characters that docs/security.md allows for a pattern outside the parser.
BOUND = 20_000
# Accents in a row, signs at which patterns begin, many letters, a failing end.
LONG = "".join(
    (
        "https://" + "a" * 8_000 + "\u0301\u0316" * 4_000,
        "<a@=?;\t(re:" * 400,
        *map(chr, range(0x4E00, 0x5600)),
        "\u2003",
    )
)
assert len(LONG) > BOUND
_REPLACING = ("sub", "subn")


class RecordedPattern:
    """A pattern that notes the longest text, with where the pattern is."""

    def __init__(self, pattern, place, longest):
        self._pattern = pattern
        self._place = place
        self._longest = longest

    def __getattr__(self, name):
        found = getattr(self._pattern, name)
        if not callable(found):
            return found

        def call(*args, **options):
            before, place = self._longest.get("most", (0, ""))
            length = len(args[1] if name in _REPLACING else args[0])
            self._longest["most"] = max((before, place), (length, self._place))
            return found(*args, **options)

        return call


class RecordedModule:
    """The module `re` as one of our modules sees it."""

    def __init__(self, place, longest):
        self._place = place
        self._longest = longest

    def __getattr__(self, name):
        def call(pattern, *args, **options):
            compiled = re.compile(pattern, options.pop("flags", 0))
            recorded = RecordedPattern(compiled, self._place, self._longest)
            return getattr(recorded, name)(*args, **options)

        is_call = name in ("match", "fullmatch", "search", "split", "findall")
        is_call = is_call or name in ("finditer", *_REPLACING)
        return call if is_call else getattr(re, name)


def record_patterns(monkeypatch):
    """Record from now on. Return a dict: `most` is the longest text and its module."""
    longest = {}
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None) or ""
        place = path.removeprefix(f"{ROOT}/")
        if place == path or place.startswith(("tests/", ".")):
            continue
        for name, value in list(vars(module).items()):
            if isinstance(value, re.Pattern):
                monkeypatch.setattr(
                    module, name, RecordedPattern(value, place, longest)
                )
            elif value is re:
                monkeypatch.setattr(module, name, RecordedModule(place, longest))
    return longest
