"""Reads style sheets: rules by element, class and id, and what the others could do to
an element.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import tinycss2

from simple_form.harmless import Harm, harm_of
from simple_form.result import Change, TooComplex

# Characters of all sheets, rules, and rules looked at for all elements. Above the first
# two no sheet is read.
MAX_SHEETS = 200_000
MAX_RULES = 2_000
MAX_MATCHES = 200_000
MAX_STYLE = 20_000
MAX_DEPTH = 10
# What is left out of what is parsed.
_ONLY_CODE = {"skip_comments": True, "skip_whitespace": True}


class Declaration(NamedTuple):
    """A property and its value, both in lower case, and the texts in it as they are
    written.
    """

    name: str
    value: str
    important: bool = False
    texts: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Rule:
    """A rule whose last part is an element, classes and an id; `tag` is "*" for any.

    `needs` are the names that what it lies in must have. Not `sure`: whether it holds
    is not worked out. `dark`: it holds in dark mode only.
    """

    tag: str
    classes: frozenset[str]
    id: str
    declared: tuple[Declaration, ...]
    needs: frozenset[str]
    sure: bool
    dark: bool
    weight: tuple[int, int, int, int]


_IDLE = re.compile(
    r"::?(?:hover|active|focus|focus-within|focus-visible|selection|placeholder|target)(?![\w-])"
    r"|::-(?:webkit|moz|ms)-(?!scroll|resize)"
)
_ADDS = re.compile(r"::?(?:before|after|marker|first-letter|first-line)\b")
_ALWAYS_TRUE = re.compile(r":(?:link|any-link|root)(?![\w-])")
# The tag of what holds for links alone: an <a> without an address is none.
LINK = "a:link"
_COMPOUNDS = re.compile(r"[ \t\n\f\r>+~|]+")
_NAME = r"(?:[\w-]|[^\x00-\x7f])+"
_NOT_IN_NAMES = re.compile(r"[\x00-\x7f](?<![\w-])")
_NAMES = re.compile(rf"[.#]{_NAME}")
_TAG = r"[a-z](?:[\w-]|[^\x00-\x7f])*"
_PARTS_OF_COMPOUND = re.compile(rf"[.#]{_NAME}|^{_TAG}", re.IGNORECASE)
_COMPOUND = re.compile(
    rf"(?P<tag>{_TAG}|\*)?(?P<names>(?:[.#]{_NAME})*)", re.IGNORECASE
)
# Selectors that every browser takes; one that is none voids those beside it.
_IDENT = r"(?:--|-?(?:[a-z_]|[^\x00-\x7f]))(?:[\w-]|[^\x00-\x7f])*"
_STATES = "first-child|last-child|only-child|empty|root|link|any-link|visited|hover|active|focus|checked|disabled"
_PLAIN = rf"(?:{_TAG}|\*)(?:[.#]{_IDENT}|:(?:{_STATES})(?![\w-]))*+|(?:[.#]{_IDENT}|:(?:{_STATES})(?![\w-]))++"
_VALID = re.compile(
    rf"(?:{_PLAIN})(?:(?:[ \t\n\f\r]*[>+~][ \t\n\f\r]*|[ \t\n\f\r]+)(?:{_PLAIN}))*+"
    r"(?:::?(?:before|after|first-line|first-letter)|::selection)?",
    re.IGNORECASE,
)
_SCREEN = frozenset(("", "all", "screen", "only screen"))
_DARK = re.compile(
    r"(?:(?:only )?(?:screen|all) and )?\( ?prefers-color-scheme ?: ?dark ?\)"
)
# What is loaded from here is Google's library of fonts; of these the letters look like
# what they are.
_LIBRARY = re.compile(
    r"(?:https?:)?//fonts\.(?P<kind>googleapis|gstatic)\.com/(?P<rest>.*)", re.DOTALL
)
_LETTERS = frozenset(
    "abel archivo arimo asap assistant barlow bitter cabin catamaran cormorantgaramond cousine crimsontext dmsans "
    "dosis droidsans droidserif ebgaramond exo2 figtree firasans heebo hind ibmplexmono ibmplexsans ibmplexserif "
    "inconsolata inter josefinsans karla lato librebaskerville librefranklin lora manrope merriweather "
    "merriweathersans montserrat muli mulish notosans notoserif nunito nunitosans opensans oswald outfit overpass "
    "oxygen playfairdisplay plusjakartasans poppins ptsans ptserif publicsans quicksand raleway roboto "
    "robotocondensed robotomono robotoslab rubik sourcecodepro sourcesans3 sourcesanspro sourceserif4 sourceserifpro "
    "spacegrotesk tinos titilliumweb ubuntu varelaround worksans zillaslab".split()
)
# What a rule for the first line or letter could hide it by.
_OF_LETTERS = frozenset(
    ("color", "background", "background-color", "font", "font-size", "line-height")
)
_ELSEWHERE = re.compile(
    r"(?:only )?(?:print|speech|handheld|tv|projection|tty|braille|embossed|aural)\b.*"
)
_NO_EFFECT = frozenset(
    "charset page keyframes viewport list property font-feature-values".split()
)
# What generated content without words may have: it makes no box that covers or moves
# something.
_OF_NOTHING = frozenset(
    ("content", "clear", "color", "visibility", "font", "font-size", "line-height")
)


def is_of_font_library(url: str) -> bool:
    """Whether an address is one of Google's library, of families whose letters look
    like what they are.
    """
    found = _LIBRARY.match(url.strip().lower())
    if found is None:
        return False
    query = re.findall(r"[?&]family=([^&]*)", found["rest"])
    names = (
        found["rest"].split("/")[1:2]
        if found["kind"] == "gstatic"
        else "|".join(query).split("|")
    )
    names = [re.sub(r"\+|%20| |-", "", one.partition(":")[0]) for one in names]
    return all(one in _LETTERS for one in names) and "effect=" not in found["rest"]


@lru_cache(maxsize=4096)
def declarations_of(text: str) -> tuple[Declaration, ...]:
    """Return what the inside of a style attribute declares, in its order."""
    if len(text) > MAX_STYLE:
        raise TooComplex("a style in it is too large to read")
    return tuple(_declared(tinycss2.parse_blocks_contents(text, **_ONLY_CODE)))


def has_dark_scheme(declared: Iterable[Declaration]) -> bool:
    """Whether dark mode may change the colours that nobody sets."""
    return any(one.name == "color-scheme" and "dark" in one.value for one in declared)


def _declared(parsed: Iterable[Any]) -> Iterator[Declaration]:
    for one in parsed:
        if one.type in ("qualified-rule", "at-rule"):
            # In a style attribute, browsers differ in where it ends.
            yield Declaration("a rule in a style", "")
        if one.type == "declaration":
            value = " ".join(tinycss2.serialize(one.value).lower().split())
            texts = " ".join(part.value for part in one.value if part.type == "string")
            yield Declaration(one.lower_name, value, one.important, texts)


class StyleSheets:
    """All style sheets of one message.

    `names` are the classes and ids of its elements, as selectors write them. `changes`
    is what the sheets themselves could do, whatever they hold for.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.changes: list[Change] = []
        self._present = frozenset(names)
        self._folded = Counter(one.lower() for one in self._present)
        self._rules = 0
        self._matches = 0
        self.has_dark_mode = False
        # Whether dark mode changes the colours that nobody sets.
        self.has_dark_scheme = False
        # Whether the message says which standard it is written by: otherwise tables do
        # not inherit colours and sizes.
        self.is_standard = False
        # The names that any rule needs of what an element lies in.
        self.needed: set[str] = set()
        self._index: dict[str, list[Rule]] = defaultdict(list)
        self._memory: dict[tuple[str, str, str], list[Rule]] = {}

    def read(self, sheets: Sequence[tuple[str, str]]) -> None:
        """Read the style sheets of the message in their order, each with the media that
        it is for.
        """
        if sum(len(text) for text, _ in sheets) > MAX_SHEETS:
            self._note("a style sheet that is too large to read", "change it")
            return
        for text, media in sheets:
            parsed = tinycss2.parse_stylesheet(text, **_ONLY_CODE)
            sure, dark, holds = _media(media)
            if holds:
                self._add(parsed, sure, dark, 0)

    def matching(
        self, tag: str, id: str, classes: str, around: frozenset[str] | None
    ) -> list[Rule]:
        """Return the rules that hold for an element, or could; the weakest first.

        `around` are the names of what it lies in that are `needed`; None where they are
        not known.
        """
        if not self._index:
            return []
        key = (tag, id, classes)
        if key not in self._memory:
            held = frozenset(written_name(one).lower() for one in classes_in(classes))
            id = written_name(id).lower()
            tags = {tag, "*", "a"} if tag == LINK else {tag, "*"}
            keys = (*tags, f"#{id}", *(f".{one}" for one in held))
            near = [rule for one in keys for rule in self._index.get(one, ())]
            self._matches += len(near)
            if self._matches > MAX_MATCHES:
                raise TooComplex("its style sheets are too large to read")
            fits = {
                r
                for r in near
                if r.tag in tags and r.id in ("", id) and r.classes <= held
            }
            self._memory[key] = sorted(fits, key=lambda rule: rule.weight)
        found = self._memory[key]
        if around is None:
            return [replace(rule, sure=False) if rule.needs else rule for rule in found]
        return [rule for rule in found if rule.needs <= around]

    def _add(self, parsed: Iterable[Any], sure: bool, dark: bool, depth: int) -> None:
        for one in parsed:
            if one.type == "at-rule":
                self._add_at_rule(one, sure, dark, depth)
            if one.type != "qualified-rule":
                continue
            selectors = _selectors(one.prelude)
            inside = tinycss2.parse_blocks_contents(one.content, **_ONLY_CODE)
            for nested in inside:
                self._add_inner(nested, dark)
            declared = tuple(_declared(d for d in inside if d.type == "declaration"))
            is_valid = all(_VALID.fullmatch(outside) for _, outside in selectors)
            for written, outside in selectors if declared else ():
                self._add_selector(written, outside, declared, sure and is_valid, dark)

    def _add_at_rule(self, rule: Any, sure: bool, dark: bool, depth: int) -> None:
        word = rule.lower_at_keyword
        condition = " ".join(tinycss2.serialize(rule.prelude).lower().split())
        if word == "import":
            url = condition.removeprefix("url(").strip("\"') ")
            if not is_of_font_library(url):
                self._note(f"a style sheet loaded from {url[:80]}", "change it")
        elif word == "font-face":
            content = tinycss2.serialize(rule.content or ()).lower()
            urls = re.findall(r"url\(\s*[\"']?([^\"')]*)", content)
            is_odd = re.search(
                r"local\(|size-adjust|-override|unicode-range|\\", content
            )
            # Outlook describes families that it does not bring along.
            is_local = "src" in content and not urls
            if is_odd or is_local or not all(map(is_of_font_library, urls)):
                self._note("a font of its own (@font-face)", "draw other letters")
        elif word == "namespace":
            how = "rules for elements of another kind (@namespace)"
            self._note(how, "change it")
        elif re.sub(r"^-[a-z]+-", "", word) in _NO_EFFECT or rule.content is None:
            return
        elif word == "media":
            is_sure, is_dark, holds = _media(condition)
            # Two conditions at once are not worked out.
            is_sure = sure and is_sure and not (dark and is_dark)
            if holds:
                self._add_nested(rule.content, is_sure, dark or is_dark, depth)
        elif word in (
            "supports",
            "layer",
            "container",
            "scope",
            "document",
            "starting-style",
        ):
            self._add_nested(rule.content, False, dark, depth)
        else:
            self._note(f"a style that is not known (@{word[:30]})", "change it")

    def _note(self, how: str, does: str) -> None:
        self.changes.append(Change(how, does))

    def _add_nested(
        self, content: list[Any], sure: bool, dark: bool, depth: int
    ) -> None:
        if depth >= MAX_DEPTH:
            self._note("style rules that are nested too deeply", "change it")
            return
        rules = tinycss2.parse_rule_list(content, **_ONLY_CODE)
        self._add(rules, sure, dark, depth + 1)

    def _add_inner(self, rule: Any, dark: bool) -> None:
        """Add a rule that stands inside of another: it may hold for any element."""
        if rule.type not in ("qualified-rule", "at-rule") or rule.content is None:
            return
        parsed = tinycss2.parse_blocks_contents(rule.content, **_ONLY_CODE)
        declared = tuple(_declared(one for one in parsed if one.type == "declaration"))
        selector = ", ".join(written for written, _ in _selectors(rule.prelude))
        if _ADDS.search(selector):
            self._note_added(selector, declared)
        else:
            none: frozenset[str] = frozenset()
            weight = (0, 0, 0, self._rules)
            self._keep(Rule("*", none, "", declared, none, False, dark, weight))
        for inner in parsed:
            self._add_inner(inner, dark)

    def _add_selector(
        self,
        selector: str,
        outside: str,
        declared: tuple[Declaration, ...],
        sure: bool,
        dark: bool,
    ) -> None:
        named = set(_NAMES.findall(outside))
        if any(one.lower() not in self._folded for one in named) or _IDLE.search(
            outside
        ):
            # It holds for nothing in the message, or only while something is pointed
            # at.
            return
        if _ADDS.search(selector):
            self._note_added(selector, declared)
            return
        if "::-" in outside:
            self._note(f"a style of scroll bars ({selector[:60]})", "hide it")
            return
        # Whether case counts depends on the document.
        sure = sure and all(
            one in self._present and self._folded[one.lower()] == 1 for one in named
        )
        plain = _ALWAYS_TRUE.sub("", outside)
        *around, last = _COMPOUNDS.split(plain)
        compound = _COMPOUND.match(last)
        assert compound is not None
        names = _NAMES.findall(compound["names"])
        ids = [one[1:].lower() for one in names if one[0] == "#"]
        classes = frozenset(one[1:].lower() for one in names if one[0] == ".")
        tag = (
            compound["tag"] or ("html" if ":root" in outside and not names else "*")
        ).lower()
        *beyond, own = _COMPOUNDS.split(outside)
        if tag == "a" and _ALWAYS_TRUE.search(own):
            tag = LINK
        needs = [
            one.lower() for part in around for one in _PARTS_OF_COMPOUND.findall(part)
        ]
        # What stands beside an element is not stored, nor the order of what it lies in.
        needs = [] if set("+~") & set(outside) else needs
        is_simple = (
            last == compound.group()
            and len(ids) < 2
            and len(around) < 2
            and len(needs) == len(around)
            and not set("+~>:[") & set(plain)
            and ("*" not in plain or plain == "*")
            # A link without an address, and what is not the page itself, are none of
            # these.
            and (plain == outside or tag in (LINK, "html"))
            and not any(map(_ALWAYS_TRUE.search, beyond))
        )
        weight = (
            len(ids) + sum(one[0] == "#" for one in needs),
            sum(one[0] == "." for one in (*names, *needs))
            + len(_ALWAYS_TRUE.findall(outside)),
            int(tag != "*") + sum(one[0] not in "#." for one in needs),
            self._rules,
        )
        self._keep(
            Rule(
                tag,
                classes,
                ids[0] if ids else "",
                declared,
                frozenset(needs),
                sure and is_simple,
                dark,
                weight,
            )
        )

    def _note_added(self, selector: str, declared: Sequence[Declaration]) -> None:
        """Note what a rule for generated content, or for a part of the words, could do."""
        is_empty = any(
            one.name == "content" and one.value in ('""', "''", "none", "normal")
            for one in declared
        )
        is_empty = is_empty and "first-" not in selector
        for one in declared:
            harm = harm_of(one.name, one.value)
            if harm is None and not is_empty and one.name in _OF_LETTERS:
                harm = Harm("", "hide it")
            if is_empty:
                # Such as what ends floats: it has no extent.
                if one.name in ("height", "width", "max-height", "margin", "padding"):
                    is_box = one.value not in ("0", "0px")
                elif one.name == "display":
                    is_box = one.value not in ("block", "table", "none", "inline")
                else:
                    is_box = one.name not in _OF_NOTHING
                harm = Harm("", "cover other words") if is_box else None
            if harm is not None:
                how = f"{selector[:60]} {{{one.name}: {one.value[:60]}}}"
                self.changes.append(Change(how, harm.does, one.texts[:300]))

    def _keep(self, rule: Rule) -> None:
        self._rules += 1
        if self._rules > MAX_RULES:
            raise TooComplex("its style sheets are too large to read")
        self.needed |= rule.needs
        self.has_dark_mode |= rule.dark
        self.has_dark_scheme |= has_dark_scheme(rule.declared)
        key = rule.tag
        if rule.id:
            key = f"#{rule.id}"
        elif rule.classes:
            key = f".{min(rule.classes)}"
        self._index[key].append(rule)


def classes_in(value: str) -> list[str]:
    """Return the classes of a class attribute."""
    return [one for one in re.split("[ \t\n\f\r]+", value) if one]


def written_name(name: str) -> str:
    """Return an id or class with one sign for every character that a selector would
    have to escape.
    """
    return _NOT_IN_NAMES.sub("\ufffd", name)


def _selectors(prelude: Iterable[Any]) -> list[tuple[str, str]]:
    """Return each selector as it is written, with escapes resolved, and with a sign for
    each pair of brackets in it.
    """
    written = [""]
    outside = [""]
    for one in prelude:
        if one.type == "literal" and one.value == ",":
            written.append("")
            outside.append("")
            continue
        if one.type == "ident":
            text = written_name(one.value)
        elif one.type == "hash":
            text = f"#{written_name(one.value)}"
        else:
            text = tinycss2.serialize([one])
        written[-1] += text
        is_in_brackets = one.type == "function" or one.type.endswith(" block")
        outside[-1] += ":[]" if is_in_brackets else text
    return [(a.strip(), b.strip()) for a, b in zip(written, outside, strict=True)]


def _media(condition: str) -> tuple[bool, bool, bool]:
    """Return of a media condition whether it surely holds, whether it is dark mode, and
    whether a screen may be it.
    """
    condition = " ".join(condition.lower().split())
    media = [one.strip() for one in condition.split(",")]
    if (len(media) > 1 and "" in media) or any(
        one.count("(") != one.count(")") for one in media
    ):
        return False, False, True
    if set("[]\"'\\") & set(condition):
        return False, False, True
    if all(_ELSEWHERE.fullmatch(one) for one in media):
        return False, False, False
    if any(one in _SCREEN for one in media):
        return True, False, True
    is_dark = all(map(_DARK.fullmatch, media))
    return is_dark, is_dark, True
