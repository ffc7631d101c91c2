"""Reads the style sheets of a message, and finds the rules that apply to an element, or
may apply. Rules whose effect is not worked out are noted as changes.
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

# Limits of one message: characters of all style sheets, rules, rules checked for all
# elements, characters of one style attribute, and nesting of rules.
MAX_SHEETS = 200_000
MAX_RULES = 2_000
MAX_MATCHES = 200_000
MAX_STYLE = 20_000
MAX_DEPTH = 10
# Options for tinycss2.
_ONLY_CODE = {"skip_comments": True, "skip_whitespace": True}


class Declaration(NamedTuple):
    """A property and its value, both in lower case. `texts` are the strings in the
    value as they are written, such as the words of `content`.
    """

    name: str
    value: str
    important: bool = False
    texts: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Rule:
    """A rule with one selector, for elements with this tag ("*" for any), these classes
    and this id.

    `needs` are the tags, classes and ids of elements that must be around. If it is not
    `sure`, it may apply or not. If it is `dark`, it applies in dark mode only. `weight`
    is its specificity and then its order.
    """

    tag: str
    classes: frozenset[str]
    id: str
    declared: tuple[Declaration, ...]
    needs: frozenset[str]
    sure: bool
    dark: bool
    weight: tuple[int, int, int, int]


# Selectors that apply only while somebody points at or selects something, or never.
_IDLE = re.compile(
    r"::?(?:hover|active|focus|focus-within|focus-visible|selection|placeholder|target)(?![\w-])"
    r"|::-(?:webkit|moz|ms)-(?!scroll|resize)"
)
# Selectors for generated content, or for a part of the words.
_ADDS = re.compile(r"::?(?:before|after|marker|first-letter|first-line)\b")
_ALWAYS_TRUE = re.compile(r":(?:link|any-link|root)(?![\w-])")
# The tag of rules for links alone: an <a> without an address is no link.
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
# Selectors that every browser understands. Any other one disables the whole rule.
_IDENT = r"(?:--|-?(?:[a-z_]|[^\x00-\x7f]))(?:[\w-]|[^\x00-\x7f])*"
_STATES = "first-child|last-child|only-child|empty|root|link|any-link|visited|hover|active|focus|checked|disabled"
_PLAIN = rf"(?:{_TAG}|\*)(?:[.#]{_IDENT}|:(?:{_STATES})(?![\w-]))*+|(?:[.#]{_IDENT}|:(?:{_STATES})(?![\w-]))++"
_VALID = re.compile(
    rf"(?:{_PLAIN})(?:(?:[ \t\n\f\r]*[>+~][ \t\n\f\r]*|[ \t\n\f\r]+)(?:{_PLAIN}))*+"
    r"(?:::?(?:before|after|first-line|first-letter)|::selection)?",
    re.IGNORECASE,
)
# Media that every screen is.
_SCREEN = frozenset(("", "all", "screen", "only screen"))
_DARK = re.compile(
    r"(?:(?:only )?(?:screen|all) and )?\( ?prefers-color-scheme ?: ?dark ?\)"
)
# Google's library of fonts, and those families in it that draw letters as what they
# are.
_FONT_LIBRARY = re.compile(
    r"(?:https?:)?//fonts\.(?P<kind>googleapis|gstatic)\.com/(?P<rest>.*)", re.DOTALL
)
_HARMLESS_FONTS = frozenset(
    "abel archivo arimo asap assistant barlow bitter cabin catamaran cormorantgaramond cousine crimsontext dmsans "
    "dosis droidsans droidserif ebgaramond exo2 figtree firasans heebo hind ibmplexmono ibmplexsans ibmplexserif "
    "inconsolata inter josefinsans karla lato librebaskerville librefranklin lora manrope merriweather "
    "merriweathersans montserrat muli mulish notosans notoserif nunito nunitosans opensans oswald outfit overpass "
    "oxygen playfairdisplay plusjakartasans poppins ptsans ptserif publicsans quicksand raleway roboto "
    "robotocondensed robotomono robotoslab rubik sourcecodepro sourcesans3 sourcesanspro sourceserif4 sourceserifpro "
    "spacegrotesk tinos titilliumweb ubuntu varelaround worksans zillaslab".split()
)
# Properties by which a rule for the first line or letter could hide it.
_HIDING_LETTERS = frozenset(
    ("color", "background", "background-color", "font", "font-size", "line-height")
)
# Media that no screen is.
_NO_SCREEN = re.compile(
    r"(?:only )?(?:print|speech|handheld|tv|projection|tty|braille|embossed|aural)\b.*"
)
# At-rules that change nothing by themselves.
_NO_EFFECT = frozenset(
    "charset page keyframes viewport list property font-feature-values".split()
)
# Properties of empty generated content that make no box, which could cover or move
# words.
_WITHOUT_BOX = frozenset(
    ("content", "clear", "color", "visibility", "font", "font-size", "line-height")
)


def is_of_font_library(url: str) -> bool:
    """Whether an address loads only harmless families of Google's library of fonts."""
    match = _FONT_LIBRARY.match(url.strip().lower())
    if match is None:
        return False
    query = re.findall(r"[?&]family=([^&]*)", match["rest"])
    names = (
        match["rest"].split("/")[1:2]
        if match["kind"] == "gstatic"
        else "|".join(query).split("|")
    )
    names = [re.sub(r"\+|%20| |-", "", name.partition(":")[0]) for name in names]
    return (
        all(name in _HARMLESS_FONTS for name in names)
        and "effect=" not in match["rest"]
    )


@lru_cache(maxsize=4096)
def declarations_of(text: str) -> tuple[Declaration, ...]:
    """Return the declarations of a style attribute in order. Raises TooComplex."""
    if len(text) > MAX_STYLE:
        raise TooComplex("a style in it is too large to read")
    return tuple(_declared(tinycss2.parse_blocks_contents(text, **_ONLY_CODE)))


def has_dark_scheme(declared: Iterable[Declaration]) -> bool:
    """Whether dark mode may change the colours that no style sets."""
    return any(one.name == "color-scheme" and "dark" in one.value for one in declared)


def _declared(parsed: Iterable[Any]) -> Iterator[Declaration]:
    for node in parsed:
        if node.type in ("qualified-rule", "at-rule"):
            # Browsers differ in where a rule in a style attribute ends.
            yield Declaration("a rule in a style", "")
        if node.type == "declaration":
            value = " ".join(tinycss2.serialize(node.value).lower().split())
            texts = " ".join(part.value for part in node.value if part.type == "string")
            yield Declaration(node.lower_name, value, node.important, texts)


class StyleSheets:
    """All style sheets of one message.

    `names` are the classes and ids in the message, as selectors write them. `changes`
    is what the sheets could do apart from the rules in `matching`.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.changes: list[Change] = []
        self._present = frozenset(names)
        self._folded = Counter(one.lower() for one in self._present)
        self._rules = 0
        self._matches = 0
        self.has_dark_mode = False
        # Whether dark mode changes the colours that no style sets.
        self.has_dark_scheme = False
        # Whether the document type asks for standards mode. In quirks mode, tables do
        # not inherit colours and font sizes.
        self.is_standard = False
        # Tags, classes and ids that any rule needs around an element (`Rule.needs`).
        self.needed: set[str] = set()
        self._index: dict[str, list[Rule]] = defaultdict(list)
        self._memory: dict[tuple[str, str, str], list[Rule]] = {}

    def read(self, sheets: Sequence[tuple[str, str]]) -> None:
        """Read the style sheets in order. Each is a pair of its text and its media."""
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
        """Return the rules that apply or may apply to an element, the weakest first.

        `around` has those of the `needed` tags, classes and ids that the elements
        around it have; None if they are not known.
        """
        if not self._index:
            return []
        key = (tag, id, classes)
        if key not in self._memory:
            own_classes = frozenset(
                written_name(one).lower() for one in classes_in(classes)
            )
            id = written_name(id).lower()
            tags = {tag, "*", "a"} if tag == LINK else {tag, "*"}
            keys = (*tags, f"#{id}", *(f".{one}" for one in own_classes))
            near = [rule for one in keys for rule in self._index.get(one, ())]
            self._matches += len(near)
            if self._matches > MAX_MATCHES:
                raise TooComplex("its style sheets are too large to read")
            fits = {
                r
                for r in near
                if r.tag in tags and r.id in ("", id) and r.classes <= own_classes
            }
            self._memory[key] = sorted(fits, key=lambda rule: rule.weight)
        rules = self._memory[key]
        if around is None:
            unsure = []
            for rule in rules:
                unsure.append(replace(rule, sure=False) if rule.needs else rule)
            return unsure
        return [rule for rule in rules if rule.needs <= around]

    # Adds the rules of a parsed style sheet.
    def _add(self, parsed: Iterable[Any], sure: bool, dark: bool, depth: int) -> None:
        for node in parsed:
            if node.type == "at-rule":
                self._add_at_rule(node, sure, dark, depth)
            if node.type != "qualified-rule":
                continue
            selectors = _selectors(node.prelude)
            inside = tinycss2.parse_blocks_contents(node.content, **_ONLY_CODE)
            for nested in inside:
                self._add_inner(nested, dark)
            declared = tuple(_declared(d for d in inside if d.type == "declaration"))
            is_valid = all(_VALID.fullmatch(outside) for _, outside in selectors)
            for written, outside in selectors if declared else ():
                self._add_selector(written, outside, declared, sure and is_valid, dark)

    # Adds the rules inside of an at-rule that applies, and notes what others could do.
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
            # Outlook also describes families without loading them: no `src`.
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
            # Two dark-mode conditions, one in the other, count as unsure.
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
        """Add a rule inside of another one, as one that may apply to any element."""
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

    # Adds a rule for one of its selectors, or notes what it could do.
    def _add_selector(
        self,
        selector: str,
        outside: str,
        declared: tuple[Declaration, ...],
        sure: bool,
        dark: bool,
    ) -> None:
        named = set(_NAMES.findall(outside))
        if any(name.lower() not in self._folded for name in named) or _IDLE.search(
            outside
        ):
            # It applies to nothing in the message, or only while somebody points at it.
            return
        if _ADDS.search(selector):
            self._note_added(selector, declared)
            return
        if "::-" in outside:
            self._note(f"a style of scroll bars ({selector[:60]})", "hide it")
            return
        # Whether upper and lower case differ depends on the mode of the document.
        sure = sure and all(
            name in self._present and self._folded[name.lower()] == 1 for name in named
        )
        plain = _ALWAYS_TRUE.sub("", outside)
        *around, last = _COMPOUNDS.split(plain)
        compound = _COMPOUND.match(last)
        assert compound is not None
        names = _NAMES.findall(compound["names"])
        ids = [name[1:].lower() for name in names if name[0] == "#"]
        classes = frozenset(name[1:].lower() for name in names if name[0] == ".")
        tag = (
            compound["tag"] or ("html" if ":root" in outside and not names else "*")
        ).lower()
        *beyond, own = _COMPOUNDS.split(outside)
        if tag == "a" and _ALWAYS_TRUE.search(own):
            tag = LINK
        needs = [
            name.lower() for part in around for name in _PARTS_OF_COMPOUND.findall(part)
        ]
        # Siblings of an element are not known here.
        needs = [] if set("+~") & set(outside) else needs
        is_simple = (
            last == compound.group()
            and len(ids) < 2
            and len(around) < 2
            and len(needs) == len(around)
            and not set("+~>:[") & set(plain)
            and ("*" not in plain or plain == "*")
            # ":link" and ":root" were removed, which is right only for these tags.
            and (plain == outside or tag in (LINK, "html"))
            and not any(map(_ALWAYS_TRUE.search, beyond))
        )
        weight = (
            len(ids) + sum(name[0] == "#" for name in needs),
            sum(name[0] == "." for name in (*names, *needs))
            + len(_ALWAYS_TRUE.findall(outside)),
            int(tag != "*") + sum(name[0] not in "#." for name in needs),
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
        """Note what a rule for generated content or a part of the words could do."""
        is_empty = any(
            declaration.name == "content"
            and declaration.value in ('""', "''", "none", "normal")
            for declaration in declared
        )
        is_empty = is_empty and "first-" not in selector
        for declaration in declared:
            harm = harm_of(declaration.name, declaration.value)
            if harm is None and not is_empty and declaration.name in _HIDING_LETTERS:
                harm = Harm("", "hide it")
            if is_empty:
                # Empty content is usual to end floats, and harmless without an extent.
                if declaration.name in (
                    "height",
                    "width",
                    "max-height",
                    "margin",
                    "padding",
                ):
                    is_box = declaration.value not in ("0", "0px")
                elif declaration.name == "display":
                    is_box = declaration.value not in (
                        "block",
                        "table",
                        "none",
                        "inline",
                    )
                else:
                    is_box = declaration.name not in _WITHOUT_BOX
                harm = Harm("", "cover other words") if is_box else None
            if harm is not None:
                how = (
                    f"{selector[:60]} {{{declaration.name}: {declaration.value[:60]}}}"
                )
                self.changes.append(Change(how, harm.does, declaration.texts[:300]))

    # Puts a rule into the index, under its id, else one class, else its tag.
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
    """Return an id or class with U+FFFD for each character that a selector escapes."""
    return _NOT_IN_NAMES.sub("\ufffd", name)


def _selectors(prelude: Iterable[Any]) -> list[tuple[str, str]]:
    """Return each selector of a rule twice, with escapes resolved: whole, and with
    ":[]" in place of each pair of brackets and its content.
    """
    written = [""]
    outside = [""]
    for token in prelude:
        if token.type == "literal" and token.value == ",":
            written.append("")
            outside.append("")
            continue
        if token.type == "ident":
            text = written_name(token.value)
        elif token.type == "hash":
            text = f"#{written_name(token.value)}"
        else:
            text = tinycss2.serialize([token])
        written[-1] += text
        is_in_brackets = token.type == "function" or token.type.endswith(" block")
        outside[-1] += ":[]" if is_in_brackets else text
    return [
        (whole.strip(), short.strip())
        for whole, short in zip(written, outside, strict=True)
    ]


def _media(condition: str) -> tuple[bool, bool, bool]:
    """Return three facts about a media condition: whether its rules surely apply (in
    dark mode, if it is for that), whether it is for dark mode, and whether a screen may
    meet it.
    """
    condition = " ".join(condition.lower().split())
    media = [part.strip() for part in condition.split(",")]
    if (len(media) > 1 and "" in media) or any(
        part.count("(") != part.count(")") for part in media
    ):
        return False, False, True
    if set("[]\"'\\") & set(condition):
        return False, False, True
    if all(_NO_SCREEN.fullmatch(part) for part in media):
        return False, False, False
    if any(part in _SCREEN for part in media):
        return True, False, True
    is_dark = all(map(_DARK.fullmatch, media))
    return is_dark, is_dark, True
