"""Records how long the texts are that patterns read in this process, which is neither
the parser's nor of its parts.
"""

import re
import sys
import unicodedata

from tests.pattern_inputs import METHODS, ROOT

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


class Recorded:
    """A pattern, or the module `re` as one of our modules sees it: notes the length of
    the longest text that it gets.
    """

    def __init__(self, inner, place, longest):
        self._inner = inner
        self._place = place
        self._longest = longest

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if name not in METHODS:
            return found

        def call(*args, **options):
            length = max(len(one) for one in args if isinstance(one, str | bytes))
            self._longest.append((length, self._place))
            return found(*args, **options)

        return call


def record_patterns(monkeypatch):
    """Record from now on, also what is brought into a normal form of Unicode. Return
    the list of lengths, each with its module.
    """
    longest = []
    for module in list(sys.modules.values()):
        place = getattr(module, "__file__", None) or ""
        place = place.removeprefix(f"{ROOT}/")
        if not place.startswith(("/", "tests/", ".")):
            for name, value in list(vars(module).items()):
                if isinstance(value, re.Pattern) or value is re:
                    recorded = Recorded(value, place, longest)
                    monkeypatch.setattr(module, name, recorded)
    normalize = unicodedata.normalize

    def note(form, text):
        # It takes quadratic time, so a tenth of the bound is allowed.
        longest.append((10 * len(text), "unicodedata"))
        return normalize(form, text)

    monkeypatch.setattr(unicodedata, "normalize", note)
    return longest
