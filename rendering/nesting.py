"""Follows, as the HTML standard does, which elements are open, and stops what would make a parser work too long.

A parser of the standard takes quadratic time for deep nesting, for formatting that is carried from block to block, for
formatting closed across blocks and for text that is moved out of tables. Each is counted here and bounded.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from rendering.shown import Doubt

MAX_DEPTH = 200
MAX_CARRIED = 20_000
MAX_MISNESTED = 500
MAX_OPEN_FORMATTING = 100
MAX_NAMES = 400
NO_NAMES: frozenset[str] = frozenset()

FORMATTING = frozenset("a b big code em font i nobr s small strike strong tt u".split())
TABLE_PARTS = frozenset("caption colgroup col tbody thead tfoot tr td th".split())
BLOCKS = frozenset(
    "address article aside blockquote center dd div dl dt figcaption figure footer h1 h2 h3 h4 h5 h6 header hr li main "
    "nav ol p pre section table ul fieldset form details summary dialog menu dir listing".split()
)
HEADINGS = frozenset("h1 h2 h3 h4 h5 h6".split())
VOID = frozenset("br hr img wbr col".split())
_SECTIONS = frozenset({"tbody", "thead", "tfoot"})
_CELLS = frozenset({"td", "th", "caption"})
_MARKERS = _CELLS | {"object", "marquee", "applet"}  # formatting does not reach into or out of these
_SCOPES = _MARKERS | {"table"}
_IN_SCOPE = BLOCKS | {"object", "marquee", "applet", "button"}


@dataclass(slots=True, eq=False)
class _Formatting:
    name: str
    key: str
    names: frozenset[str]
    open: bool = True


@dataclass(slots=True, eq=False)
class _Open:
    """An open element: the name it is known by, the name it is written as, and its formatting entry if it has one.

    `names` are its id and classes as selectors write them, `around` those and the names of all that it lies in; None
    where they are too many to be followed.
    """

    name: str
    written: str
    formatting: _Formatting | None = None
    names: frozenset[str] = NO_NAMES
    around: frozenset[str] | None = NO_NAMES


class Nesting:
    """The elements open at this point of the letter. Names are the mail's own; they may be written as others."""

    def __init__(self) -> None:
        self.open: list[_Open] = []
        self.formatting: list[_Formatting | None] = []  # None marks the start of a cell or object
        self.count: Counter[str] = Counter()  # open elements by the name they are written as
        self.cut_off = 0  # formatting that is waiting to be carried on
        self.carried = 0
        self.misnested = 0

    def start(self, name: str, written: str, key: str, names: frozenset[str] = NO_NAMES) -> bool:
        """Open an element; False says that the standard ignores this tag here. `key` tells equal formatting apart."""
        if written in TABLE_PARTS:
            if not self.count["table"]:
                return False
            self._make_room(written)
        else:
            self._leave_table(written)
        if written in BLOCKS:
            self._close_for(name, written)
        else:
            if written == "button" and self.count["button"]:
                self.end(name, written)
            self._carry()
        if written in VOID:
            return True
        entry = self._note_formatting(name, key, names) if written in FORMATTING else None
        self._push(_Open(name, written, entry, names))
        if written in _MARKERS:
            self.formatting.append(None)
        if len(self.open) > MAX_DEPTH:
            raise Doubt(f"its parts are nested more than {MAX_DEPTH} deep")
        return True

    def end(self, name: str, written: str) -> bool:
        """Close an element; False says that there is none to close and the tag is to be left out."""
        if written in FORMATTING:
            return self._end_formatting(name)
        if not self.count[written]:
            return False
        if written in TABLE_PARTS or written == "table":
            stops = frozenset({"table"}) if written != "table" else frozenset()
        else:
            stops = _SCOPES if written in _IN_SCOPE else _IN_SCOPE | _SCOPES
        at = self._find(lambda e: e.name == name and e.written == written, stops)
        if at:
            self._pop_to(at - 1)
        return bool(at)

    def text(self) -> None:
        """Text that is not only space: carries formatting on, and is moved out of a table that is between cells."""
        self._leave_table("")
        self._carry()

    def _find(self, fits: Callable[[_Open], bool], stops: frozenset[str]) -> int:
        """Return 1 + the place of the innermost fitting element, 0 when there is none before one of `stops`."""
        for at in range(len(self.open), 0, -1):
            if fits(self.open[at - 1]):
                return at
            if self.open[at - 1].written in stops:
                return 0
        return 0

    def around(self) -> frozenset[str] | None:
        """Return the ids and classes of all that is open; None where they are too many to be followed."""
        return self.open[-1].around if self.open else NO_NAMES

    def _push(self, element: _Open) -> None:
        element.around = around = self.around()
        if element.names and around is not None:
            element.around = around | element.names if len(around) + len(element.names) <= MAX_NAMES else None
        self.open.append(element)
        self.count[element.written] += 1

    def _pop_to(self, depth: int) -> None:
        while len(self.open) > depth:
            gone = self.open.pop()
            self.count[gone.written] -= 1
            if gone.formatting:
                gone.formatting.open = False
                self.cut_off += 1
            if gone.written in _MARKERS:
                while self.formatting and (entry := self.formatting.pop()) is not None:
                    self.cut_off -= not entry.open

    def _make_room(self, written: str) -> None:
        """Close what a part of a table closes by starting."""
        closes = {"td": _CELLS, "th": _CELLS, "tr": _CELLS | {"tr"}, "caption": TABLE_PARTS, "col": _CELLS}
        wanted = closes.get(written, TABLE_PARTS)
        for _ in range(4):
            at = self._find(lambda e: e.written in wanted, frozenset({"table"}))
            if not at:
                break
            self._pop_to(at - 1)
        at = self._find(lambda e: e.written in TABLE_PARTS or e.written == "table", frozenset())
        self._pop_to(at)

    def _leave_table(self, written: str) -> None:
        """Count what is put into a table outside of its cells: the standard moves it before the table."""
        if not self.open or self.open[-1].written not in ("table", "tr", *_SECTIONS):
            return
        if written == "table":
            at = self._find(lambda e: e.written == "table", frozenset())
            self._pop_to(at - 1)
            return
        self._misnest()

    def _close_for(self, name: str, written: str) -> None:
        """Close what a block closes by starting: an open paragraph, the item or heading before it."""
        if written in ("li", "dd", "dt") and (self.count["li"] or self.count["dd"] or self.count["dt"]):
            kin = ("li",) if written == "li" else ("dd", "dt")
            at = self._find(lambda e: e.written in kin, BLOCKS - {"div", "p", "address"} - frozenset(kin) | _SCOPES)
            if at:
                self._pop_to(at - 1)
        at = self._find(lambda e: e.written == "p", _SCOPES | {"button"}) if self.count["p"] else 0
        if at:
            self._pop_to(at - 1)
        if written in HEADINGS and self.open and self.open[-1].written in HEADINGS:
            self._pop_to(len(self.open) - 1)

    def _note_formatting(self, name: str, key: str, names: frozenset[str]) -> _Formatting:
        since = self._since_marker()
        if len(since) > MAX_OPEN_FORMATTING:
            raise Doubt("its formatting is never closed")
        alike = [entry for entry in since if entry.key == key]
        if len(alike) >= 3:
            self.formatting.remove(alike[0])
            self.cut_off -= not alike[0].open
        entry = _Formatting(name, key, names)
        self.formatting.append(entry)
        return entry

    def _since_marker(self) -> list[_Formatting]:
        since = []
        for entry in reversed(self.formatting):
            if entry is None:
                break
            since.append(entry)
        return since[::-1]

    def _end_formatting(self, name: str) -> bool:
        entry = next((e for e in reversed(self._since_marker()) if e.name == name), None)
        if entry is None:
            return False
        self.formatting.remove(entry)
        at = self._find(lambda e: e.formatting is entry, frozenset())
        if not at:
            self.cut_off -= 1
        elif any(e.written in BLOCKS for e in self.open[at:]):
            self._misnest()
            del self.open[at - 1]
            self.count[entry.name] -= 1
        else:
            self.open[at - 1].formatting = None
            self._pop_to(at - 1)
        return True

    def _carry(self) -> None:
        """Open again, as the standard does, formatting that was cut off by the end of a block."""
        if not self.cut_off:
            return
        for entry in self._since_marker():
            if not entry.open:
                entry.open = True
                self._push(_Open(entry.name, entry.name, entry, entry.names))
                self.cut_off -= 1
                self.carried += 1
        if self.carried > MAX_CARRIED:
            raise Doubt("its formatting is carried over too many blocks")
        if len(self.open) > MAX_DEPTH:
            raise Doubt(f"its parts are nested more than {MAX_DEPTH} deep")

    def _misnest(self) -> None:
        self.misnested += 1
        if self.misnested > MAX_MISNESTED:
            raise Doubt("too many of its tags are closed across each other")
