"""How an element is styled: which declarations hold for it, which may hold instead,
and what they could do to words.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import starmap

from simple_form.colours import attribute_colour, colour_of
from simple_form.harmless import (
    ROOT_SIZE,
    SLANTS,
    WEIGHTS,
    WIDE,
    Harm,
    attribute_length,
    font_parts,
    harm_of,
    length,
    parts_of,
)
from simple_form.html_reading import Values
from simple_form.result import TooComplex
from simple_form.style_sheets import (
    LINK,
    Declaration,
    Rule,
    StyleSheets,
    declarations_of,
    written_name,
)

# Values of rules that may hold for one element.
MAX_UNSURE = 200
# Elements whose words only some recipients see, or elsewhere.
_BY_ITSELF = {
    name: does
    for does, names in {
        # The last five are new ones, which draw something of their own in its place.
        "hide it": "datalist rp details slot template select frameset math object applet video audio canvas meter "
        "progress option optgroup noscript comment xml geolocation permission fencedframe portal model",
        "move it": "marquee legend bdo rt",
        "cut it off": "textarea plaintext",
        # Outlook draws its own kind of drawing ("v:").
        "cover other words": "dialog svg v:",
    }.items()
    for name in names.split()
}
# What follows may be taken for a part of these.
_REACHING = frozenset("template select frameset math dialog svg v:".split())
# Of `<font size>`, from 1 on.
_FONT_SIZES = ("10px", "13px", "16px", "18px", "24px", "32px", "48px")
_LIST_TYPES = {
    "1": "decimal",
    "a": "lower-alpha",
    "A": "upper-alpha",
    "i": "lower-roman",
    "I": "upper-roman",
}
_PAINTED = frozenset("body table thead tbody tfoot tr td th marquee".split())
_MARGINS = {
    **{f"{side}margin": (side,) for side in ("left", "right", "top", "bottom")},
    "marginwidth": ("left", "right"),
    "marginheight": ("top", "bottom"),
}
_FLOATED = frozenset({"table", "object", "iframe", "img"})
_SIDES = ("-top", "-right", "-bottom", "-left")
# How far the number of an item may stand before it, in pixels.
_MOST_HANGING = 100.0
_HANGING = frozenset("p div li blockquote dd dt h1 h2 h3 h4 h5 h6".split())
_PARTS_OF_TABLES = frozenset(("td", "th", "tr", "table", "tbody", "thead", "tfoot"))
_GROWING = _PARTS_OF_TABLES | {"img", "hr"}
# With these, a part of a table is none any more, and the cells around it move.
_NO_TABLE = frozenset("inline inline-block flex inline-flex grid inline-grid".split())
# Values of these are those of the four sides.
_OF_FOUR = frozenset("margin padding border-width border-style border-color".split())
_SHORTHAND_BORDERS = frozenset(("border", *(f"border{side}" for side in _SIDES)))
_LINES = frozenset(
    "none hidden solid dotted dashed double groove ridge inset outset".split()
)
_COLOURS = frozenset(("color", "background-color"))
_WITHOUT = {
    ("display", "initial"): "inline", ("display", "unset"): "inline", ("font-size", "initial"): "medium",
    ("line-height", "initial"): "normal", ("white-space", "initial"): "normal", ("direction", "initial"): "ltr",
}  # fmt: skip
# What is followed from element to element where it may hold.
_FOLLOWED = re.compile(
    r"color|background-color|font-size|line-height|direction|display|white-space|opacity"
    r"|(?:margin|padding|border)-(?:top|right|bottom|left)(?:-width)?|border-(?:[a-z-]+-)?radius"
    r"|(?:min-|max-)?width|overflow(?:-x)?"
    r"|float|table-layout|text-(?:indent|decoration)|letter-spacing"
)


Choices = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Element:
    """An element of the tree and how it is styled, or a place where something was left
    out: then `change` is its number.

    `held` is what holds. `unsure` are the values that may hold instead, by name, of
    what is followed. `dark` has the colours of dark mode, where they differ; what else
    dark mode changes is unsure. `harms` are all declarations that could do something to
    words.
    """

    name: str
    attributes: Values = field(default_factory=Values)
    labels: tuple[str, ...] = ()
    change: int | None = None
    # The names by which rules for what lies in it know it.
    names: frozenset[str] = frozenset()
    # Whether a comment hides it from Outlook.
    is_for_others: bool = False
    held: Values = field(default_factory=Values)
    unsure: Choices = field(default_factory=dict)
    dark: "Element | None" = None
    harms: tuple[Harm, ...] = ()
    # Whether a style displays it, where it is not displayed otherwise.
    shows: bool = False

    def all_of(self, name: str) -> tuple[str, ...]:
        """Return the value that holds, if any, and those that may hold instead."""
        held = (self.held[name],) if name in self.held else ()
        return (*held, *self.unsure.get(name, ()))

    def lengths(
        self, *names: str, size: float = ROOT_SIZE, whole: float | None = None
    ) -> list[float]:
        """Return the lengths in pixels that these may have; 0 for what is none."""
        values = (value for name in names for value in self.all_of(name))
        return [length(value, size, whole) or 0.0 for value in values]

    def pixels(self, name: str, size: float = ROOT_SIZE) -> float:
        """Return the length that holds, in pixels; 0 where none does."""
        return length(self.held[name], size) or 0.0

    @property
    def floats(self) -> bool:
        """Whether it may float."""
        return any(one != "none" for one in self.all_of("float"))


def styled_inside(
    element: Element, around: frozenset[str] | None, sheets: StyleSheets
) -> Element:
    """Return an element as it is styled inside of elements with these names; None where
    they are not known.
    """
    name = element.name
    attributes = element.attributes
    tag = LINK if name == "a" and "href" in attributes else written_name(name)
    rules = sheets.matching(tag, attributes["id"], attributes["class"], around)
    sure = [rule for rule in rules if rule.sure]
    perhaps = [rule for rule in rules if not rule.sure]
    if sum(len(rule.declared) for rule in perhaps) > MAX_UNSURE:
        raise TooComplex("too many rules of its style sheets may hold for one element")
    old = [Declaration(*one) for one in _old_style(name, attributes).items() if one[1]]
    own = declarations_of(attributes["style"])
    declared = (*old, *own, *(one for rule in rules for one in rule.declared))
    held = _cascaded(old, [rule for rule in sure if not rule.dark], own)
    unsure = _by_name(rule for rule in perhaps if not rule.dark)
    in_dark = _by_name(rule for rule in rules if rule.dark)
    dark = None
    if in_dark:
        dark = replace(
            element, held=_cascaded(old, sure, own), unsure=_by_name(perhaps)
        )
    for one, values in in_dark.items():
        if one not in _COLOURS:
            unsure[one] = (*unsure.get(one, ()), *values)
    harms = [
        *_harms_of_declarations(name, declared, held, unsure),
        *_harms_of_attributes(name, attributes),
        *_harms_of_mixtures(name, declared, unsure),
    ]
    if not sheets.is_standard and name not in _GROWING | {"html", "body"}:
        harms += [
            Harm(f"height: {one.value}", "cut it off", reaches=True)
            for one in declared
            if one.name == "height" and one.value.endswith("%")
        ]
    if element.is_for_others:
        harms.append(Harm("only for others than Outlook", "hide it"))
    return replace(
        element,
        held=held,
        unsure=unsure,
        dark=dark,
        harms=tuple(dict.fromkeys(harms)),
        shows=any(
            one.name in ("all", "display") and one.value != "none" for one in declared
        ),
    )


def _old_style(name: str, attributes: Values) -> dict[str, str]:
    """Return what the attributes that came before CSS say, as CSS."""
    said = Values({one: value.strip().lower() for one, value in attributes.items()})
    align = said["align"]
    style: dict[str, str] = {}
    if "bgcolor" in attributes and name in _PAINTED:
        style["background-color"] = attribute_colour(attributes["bgcolor"])
    if name == "font":
        style["color"] = attribute_colour(attributes["color"])
        style["font-family"] = " ".join(said["face"].split())
        # 1 to 7, or so much more or less than 3.
        size = re.match(r"\s*([+-]?)([0-9]{1,3})", attributes["size"])
        if size is not None:
            step = int(size[1] + size[2]) + (3 if size[1] else 0)
            style["font-size"] = _FONT_SIZES[min(max(step, 1), 7) - 1]
    if name == "body":
        style["color"] = attribute_colour(attributes["text"])
        for attribute, sides in _MARGINS.items():
            if re.fullmatch("[0-9]{1,5}", said[attribute]):
                style |= {f"margin-{side}": f"{said[attribute]}px" for side in sides}
    if said["dir"] in ("rtl", "ltr"):
        style["direction"] = said["dir"]
    if said["dir"] == "auto" and name == "table":
        style["direction"] = "rtl"
    if name in _FLOATED and align in ("left", "right"):
        style["float"] = align
    elif name == "table" and align == "center":
        style |= {"margin-left": "auto", "margin-right": "auto"}
    elif align in ("left", "right", "center", "justify"):
        style["text-align"] = align
    if name == "center":
        style["text-align"] = "center"
    if name == "img" and re.fullmatch("[0-9]{1,5}", said["hspace"]):
        style |= {f"margin-{side}": f"{said['hspace']}px" for side in ("left", "right")}
    if name == "caption" and align in ("bottom", "left", "right"):
        style["caption-side"] = align
    if said["valign"] in ("top", "middle", "bottom", "baseline"):
        style["vertical-align"] = said["valign"]
    for one in ("width", "height"):
        found = re.fullmatch(r"([0-9]{1,5})(%|px)?", attributes[one].strip())
        if found and name in ("td", "th", "table", "tr", "img", "hr"):
            style[one] = f"{found[1]}{found[2] or 'px'}"
    if name in ("ol", "li", "ul"):
        style["list-style-type"] = _LIST_TYPES.get(attributes["type"], "")
    if "nowrap" in attributes or name == "nobr":
        style["white-space"] = "nowrap"
    return style


def _harms_of_declarations(
    name: str, declared: Sequence[Declaration], held: Values, unsure: Choices
) -> Iterator[Harm]:
    """Yield what each declaration of an element could do to words by itself."""
    inset = 0.0
    if "margin-left" not in unsure and "padding-left" not in unsure:
        inset = max(
            length(held["margin-left"]) or 0.0, length(held["padding-left"]) or 0.0
        )
    is_box = name in _HANGING and held.get("display", "block") in ("block", "list-item")
    for one in declared:
        harm = harm_of(one.name, one.value)
        if harm is None or _is_usual(name, one):
            continue
        if one.name == "text-indent" and is_box and not one.value.endswith("em"):
            indent = length(one.value)
            if indent is not None and -min(inset, _MOST_HANGING) <= indent < 0:
                # The number of a list stands before its item.
                continue
        yield harm


def _harms_of_attributes(name: str, attributes: Values) -> Iterator[Harm]:
    """Yield what an element and its attributes could do to words."""
    kind = "v:" if name.startswith("v:") else name
    is_open = name == "details" and "open" in attributes and "name" not in attributes
    if kind in _BY_ITSELF and not is_open:
        yield Harm(f"inside <{name}>", _BY_ITSELF[kind], reaches=kind in _REACHING)
    for one in ("hidden", "popover", "autofocus"):
        if one in attributes:
            yield Harm(f"{one} attribute", "hide it", reaches=one == "autofocus")
    if attributes["background"].strip():
        yield Harm("a picture behind the words", "hide it")
    for one, most in (("cellspacing", 30), ("cellpadding", 30), ("border", 20)):
        if attribute_length(attributes[one]) > most:
            how = f"{one}={attributes[one][:20]}"
            yield Harm(how, "move it", reaches=one == "border")
    if "shadowrootmode" in attributes or (name == "object" and "data" in attributes):
        yield Harm(f"another content of <{name}>", "change it", reaches=True)
    if name == "img" and attributes.get("srcset"):
        how = "another picture for other screens (srcset)"
        yield Harm(how, "change it", reaches=True)


def _harms_of_mixtures(
    name: str, declared: Sequence[Declaration], unsure: Choices
) -> Iterator[Harm]:
    """Yield what declarations that are harmless elsewhere could do in this element, or
    together.
    """
    values = defaultdict(set)
    for one in declared:
        values[one.name].add(one.value)
    if name in ("td", "th") and not all(
        _is_usual(name, Declaration("max-width", one)) for one in values["max-width"]
    ):
        how = "a cell that is narrower than its words"
        yield Harm(how, "cover other words", reaches=True)
    if name in _PARTS_OF_TABLES and values["display"] & _NO_TABLE:
        yield Harm(f"another display of <{name}>", "move it", reaches=True)
    if any(
        one.name.startswith("overflow") and one.value != "visible" for one in declared
    ):
        radius = [length(one.value) for one in declared if one.name.endswith("radius")]
        if any(one is None or one > 16 for one in radius):
            yield Harm("round corners that cut off", "cut it off")
    if name == "html":
        for value in values["font"] | values["font-size"]:
            font = font_parts(value)
            size = length(font["size"] if font else value, whole=16)
            if value != "medium" and (size is None or not 10 <= size <= 20):
                yield Harm("another size for all lengths", "move it")
    if name in ("html", "body") and values["display"] - {"block"}:
        yield Harm(f"another display of <{name}>", "move it")
    if "fixed" in values["table-layout"]:
        if name != "table" or "table-layout" in unsure:
            yield Harm("table-layout: fixed", "cover other words")
        if name == "table" and any(
            0 < (length(one) or 0.0) < 200 for one in values["width"]
        ):
            yield Harm("columns that are narrower than their words", "cut it off")


def _is_usual(name: str, one: Declaration) -> bool:
    """Whether a size is harmless here: cells grow with what is in them, and a picture
    has no words.
    """
    if name in ("html", "body"):
        return one.name == "height" and one.value == "100%"
    if name not in _GROWING:
        return False
    if one.name in ("height", "min-height"):
        return True
    is_size = one.name in ("width", "max-width", "min-width")
    pixels = length(one.value, whole=800)
    if one.name == "width" and name == "table":
        return pixels is not None and pixels <= 800
    if name in ("img", "hr"):
        if is_size and one.value not in ("auto", "none", "inherit"):
            return pixels is not None and 0 <= pixels <= 1200
        if one.name == "filter":
            return "shadow" not in one.value and "url" not in one.value
        return is_size or one.name in ("max-height", "float", "display")
    if one.name == "min-width":
        return pixels is not None and pixels <= 800
    if one.name == "max-width":
        return one.value.endswith("%") or (length(one.value) or 100) >= 100
    if not is_size:
        return False
    return one.value.endswith("%") or (
        name != "table" and not re.match(r"1?[0-9]px|0|-", one.value)
    )


def _cascaded(
    old: Sequence[Declaration], rules: Sequence[Rule], own: Sequence[Declaration]
) -> Values:
    """Return what holds of these, as mail programs cascade it."""
    sheet = [one for rule in rules for one in rule.declared]
    ordered = [
        *old,
        *(one for one in sheet if not one.important),
        *(one for one in own if not one.important),
        *(one for one in sheet if one.important),
        *(one for one in own if one.important),
    ]
    held = Values()
    for one in _expanded(ordered):
        if one.value.startswith("-ms-"):
            continue
        held.pop(one.name, None)
        value = _WITHOUT.get((one.name, one.value), one.value)
        # Otherwise as if it were not declared.
        if value not in WIDE or one.name in {*_COLOURS, "text-align"}:
            held[one.name] = value
    return held


def _by_name(rules: Iterable[Rule]) -> dict[str, tuple[str, ...]]:
    """Return the values of what is followed, by name."""
    found: dict[str, dict[str, None]] = {}
    for one in _expanded(d for rule in rules for d in rule.declared):
        if _FOLLOWED.fullmatch(one.name):
            found.setdefault(one.name, {})[one.value] = None
    return {name: tuple(values) for name, values in found.items()}


def _expanded(declared: Iterable[Declaration]) -> Iterator[Declaration]:
    """Yield declarations with each shorthand as what it sets."""
    for one in declared:
        name = one.name
        value = one.value
        if name.startswith("-webkit-") and name.endswith(("radius", "opacity")):
            yield one._replace(name=name.removeprefix("-webkit-"))
        elif name in _OF_FOUR:
            box, dash, what = name.partition("-")
            parts = parts_of(value)
            if 0 < len(parts) <= 4:
                # Without a right side it is as the top, the others as those opposite.
                top, right = (*parts, parts[0])[:2]
                parts += (top, right, top, right)[len(parts) :]
                for side, part in zip(_SIDES, parts, strict=True):
                    yield Declaration(f"{box}{side}{dash}{what}", part)
        elif name == "background":
            colours = (part for part in parts_of(value) if colour_of(part) is not None)
            yield Declaration("background-color", next(colours, "transparent"))
        elif name == "font":
            yield from _expanded_font(value)
        elif name == "text-decoration-line":
            yield Declaration("text-decoration", value)
        elif name == "list-style":
            words = [w for w in value.split() if w not in ("inside", "outside")]
            kind = words[0] if words else "disc"
            yield Declaration("list-style-type", kind.replace("-latin", "-alpha"))
        elif name == "list-style-type":
            yield Declaration(name, value.replace("-latin", "-alpha"))
        elif name in _SHORTHAND_BORDERS:
            said = {"width": "medium", "style": "none", "color": "currentcolor"}
            for part in parts_of(value):
                if part in _LINES:
                    said["style"] = part
                elif colour_of(part) is not None:
                    said["color"] = part
                else:
                    said["width"] = part
            sides = _SIDES if name == "border" else (name.removeprefix("border"),)
            for side in sides:
                for what, part in said.items():
                    yield Declaration(f"border{side}-{what}", part)
        else:
            yield one


def _expanded_font(value: str) -> Iterator[Declaration]:
    found = font_parts(value)
    said = {}
    if value in WIDE:
        names = ("font-style", "font-weight", "font-size", "line-height", "font-family")
        said = dict.fromkeys(names, value)
    elif found is not None:
        words = found["style"].split()
        said = {
            "font-style": next((one for one in words if one in SLANTS), "normal"),
            "font-weight": next((one for one in words if one in WEIGHTS), "normal"),
            "font-size": found["size"],
            "line-height": found["line"] or "normal",
            "font-family": found["family"],
        }
    return starmap(Declaration, said.items())
