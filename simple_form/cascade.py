"""Works out the CSS cascade for one element of a message: which declarations apply,
which may apply instead in some mail programs, and what they could do to its words.
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

# The most declarations, of rules that perhaps apply, for one element.
MAX_UNSURE = 200
# What an element does to the words in it, whatever its style, by tag.
_HARM_BY_TAG = {
    name: does
    for does, names in {
        # In place of the last five, new browsers draw something of their own.
        "hide it": "datalist rp details slot template select frameset math object applet video audio canvas meter "
        "progress option optgroup noscript comment xml geolocation permission fencedframe portal model",
        "move it": "marquee legend bdo rt",
        "cut it off": "textarea plaintext",
        # "v:" stands for all tags of VML, the drawings of Outlook.
        "cover other words": "dialog svg v:",
    }.items()
    for name in names.split()
}
# Elements of which a browser may take what follows for a part.
_OPEN_ENDED = frozenset("template select frameset math dialog svg v:".split())
# For `<font size="1">` to `<font size="7">`.
_FONT_SIZES = ("10px", "13px", "16px", "18px", "24px", "32px", "48px")
_LIST_TYPES = {
    "1": "decimal",
    "a": "lower-alpha",
    "A": "upper-alpha",
    "i": "lower-roman",
    "I": "upper-roman",
}
# Elements whose `bgcolor` counts.
_PAINTED = frozenset("body table thead tbody tfoot tr td th marquee".split())
# Old attributes of `<body>`, and the margins that they set.
_MARGINS = {
    **{f"{side}margin": (side,) for side in ("left", "right", "top", "bottom")},
    "marginwidth": ("left", "right"),
    "marginheight": ("top", "bottom"),
}
# Elements that float with align="left" or "right".
_FLOATED = frozenset({"table", "object", "iframe", "img"})
_SIDES = ("-top", "-right", "-bottom", "-left")
# How far a text-indent below zero may pull the number of an item to the left in these
# elements, in pixels.
_MOST_HANGING = 100.0
_HANGING = frozenset("p div li blockquote dd dt h1 h2 h3 h4 h5 h6".split())
_PARTS_OF_TABLES = frozenset(("td", "th", "tr", "table", "tbody", "thead", "tfoot"))
# Elements that grow with what is in them, or have no words.
_GROWING = _PARTS_OF_TABLES | {"img", "hr"}
# With such a display, an element is no part of its table any more, and the cells around
# it move.
_NO_TABLE = frozenset("inline inline-block flex inline-flex grid inline-grid".split())
# Shorthands whose values are those of the four sides.
_FOUR_SIDED = frozenset("margin padding border-width border-style border-color".split())
_SHORTHAND_BORDERS = frozenset(("border", *(f"border{side}" for side in _SIDES)))
_LINES = frozenset(
    "none hidden solid dotted dashed double groove ridge inset outset".split()
)
_COLOURS = frozenset(("color", "background-color"))
# What the keywords `initial` and `unset` stand for.
_KEYWORD_VALUES = {
    ("display", "initial"): "inline", ("display", "unset"): "inline", ("font-size", "initial"): "medium",
    ("line-height", "initial"): "normal", ("white-space", "initial"): "normal", ("direction", "initial"): "ltr",
}  # fmt: skip
# Properties of which values that only may apply are kept too (`Element.unsure`).
_FOLLOWED = re.compile(
    r"color|background-color|font-size|line-height|direction|display|white-space|opacity"
    r"|(?:margin|padding|border)-(?:top|right|bottom|left)(?:-width)?|border-(?:[a-z-]+-)?radius"
    r"|(?:min-|max-)?width|overflow(?:-x)?"
    r"|float|table-layout|text-(?:indent|decoration)|letter-spacing"
)

# Possible values by property.
Choices = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a message and how it is styled, or the place of something left out:
    then `change` is the index of that change.

    `held` has the values that apply, by property, and `unsure` those that may apply
    instead. `dark` is the element with the colours of dark mode, if they differ; what
    else dark mode changes is in `unsure`. `harms` is what the element and its
    declarations could do to words.
    """

    name: str
    attributes: Values = field(default_factory=Values)
    labels: tuple[str, ...] = ()
    change: int | None = None
    # Its tag, classes and id, if any rule for the elements inside of it names them.
    names: frozenset[str] = frozenset()
    # Whether a conditional comment hides it from Outlook.
    is_for_others: bool = False
    held: Values = field(default_factory=Values)
    unsure: Choices = field(default_factory=dict)
    dark: "Element | None" = None
    harms: tuple[Harm, ...] = ()
    # Whether a style displays it; some elements are displayed only then.
    shows: bool = False

    def all_of(self, name: str) -> tuple[str, ...]:
        """Return the value of a property that applies, if any, and those that may."""
        held = (self.held[name],) if name in self.held else ()
        return (*held, *self.unsure.get(name, ()))

    def lengths(
        self, *names: str, size: float = ROOT_SIZE, whole: float | None = None
    ) -> list[float]:
        """Return all lengths in pixels that these properties may have; 0 for a value
        that is no length. `size` and `whole` are those of `length`.
        """
        values = (value for name in names for value in self.all_of(name))
        return [length(value, size, whole) or 0.0 for value in values]

    def pixels(self, name: str, size: float = ROOT_SIZE) -> float:
        """Return the length that applies for a property, in pixels, or 0."""
        return length(self.held[name], size) or 0.0

    @property
    def floats(self) -> bool:
        """Whether it may float."""
        return any(one != "none" for one in self.all_of("float"))


# The name of an element that stands for words without a tag, which no rule styles.
BARE = "bare words"


def styled_inside(
    element: Element, around: frozenset[str] | None, sheets: StyleSheets
) -> Element:
    """Return `element` with its style worked out.

    `around` has the tags, classes and ids of the elements that it is in; None if they
    are not known.
    """
    name = element.name
    attributes = element.attributes
    tag = LINK if name == "a" and "href" in attributes else written_name(name)
    rules = []
    if name != BARE:
        rules = sheets.matching(tag, attributes["id"], attributes["class"], around)
    sure = [rule for rule in rules if rule.sure]
    perhaps = [rule for rule in rules if not rule.sure]
    if sum(len(rule.declared) for rule in perhaps) > MAX_UNSURE:
        raise TooComplex("too many rules of its style sheets may hold for one element")
    old = [Declaration(*one) for one in _old_style(name, attributes).items() if one[1]]
    own = declarations_of(attributes["style"])
    declared = (*old, *own, *(one for rule in rules for one in rule.declared))
    held = _cascaded(old, [rule for rule in sure if not rule.dark], own)
    unsure = _followed_values(rule for rule in perhaps if not rule.dark)
    in_dark = _followed_values(rule for rule in rules if rule.dark)
    dark = None
    if in_dark:
        dark = replace(
            element, held=_cascaded(old, sure, own), unsure=_followed_values(perhaps)
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
    """Return the values that old attributes such as `bgcolor` and `align` stand for, by
    CSS property.
    """
    lowered = Values({one: value.strip().lower() for one, value in attributes.items()})
    align = lowered["align"]
    style: dict[str, str] = {}
    if "bgcolor" in attributes and name in _PAINTED:
        style["background-color"] = attribute_colour(attributes["bgcolor"])
    if name == "font":
        style["color"] = attribute_colour(attributes["color"])
        style["font-family"] = " ".join(lowered["face"].split())
        # From 1 to 7, or with a sign: so many steps from 3.
        size = re.match(r"\s*([+-]?)([0-9]{1,3})", attributes["size"])
        if size is not None:
            step = int(size[1] + size[2]) + (3 if size[1] else 0)
            style["font-size"] = _FONT_SIZES[min(max(step, 1), 7) - 1]
    if name == "body":
        style["color"] = attribute_colour(attributes["text"])
        for attribute, sides in _MARGINS.items():
            if re.fullmatch("[0-9]{1,5}", lowered[attribute]):
                style |= {f"margin-{side}": f"{lowered[attribute]}px" for side in sides}
    if lowered["dir"] in ("rtl", "ltr"):
        style["direction"] = lowered["dir"]
    if lowered["dir"] == "auto" and name == "table":
        style["direction"] = "rtl"
    if name in _FLOATED and align in ("left", "right"):
        style["float"] = align
    elif name == "table" and align == "center":
        style |= {"margin-left": "auto", "margin-right": "auto"}
    elif align in ("left", "right", "center", "justify"):
        style["text-align"] = align
    if name == "center":
        style["text-align"] = "center"
    if name == "img" and re.fullmatch("[0-9]{1,5}", lowered["hspace"]):
        style |= {
            f"margin-{side}": f"{lowered['hspace']}px" for side in ("left", "right")
        }
    if name == "caption" and align in ("bottom", "left", "right"):
        style["caption-side"] = align
    if lowered["valign"] in ("top", "middle", "bottom", "baseline"):
        style["vertical-align"] = lowered["valign"]
    for one in ("width", "height"):
        match = re.fullmatch(r"([0-9]{1,5})(%|px)?", attributes[one].strip())
        if match and name in ("td", "th", "table", "tr", "img", "hr"):
            style[one] = f"{match[1]}{match[2] or 'px'}"
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
    for declaration in declared:
        harm = harm_of(declaration.name, declaration.value)
        if harm is None or _is_usual(name, declaration):
            continue
        if (
            declaration.name == "text-indent"
            and is_box
            and not declaration.value.endswith("em")
        ):
            indent = length(declaration.value)
            if indent is not None and -min(inset, _MOST_HANGING) <= indent < 0:
                # It puts the number of a list before its item.
                continue
        yield harm


def _harms_of_attributes(name: str, attributes: Values) -> Iterator[Harm]:
    """Yield what an element and its attributes could do to words."""
    kind = "v:" if name.startswith("v:") else name
    is_open = name == "details" and "open" in attributes and "name" not in attributes
    if kind in _HARM_BY_TAG and not is_open:
        yield Harm(f"inside <{name}>", _HARM_BY_TAG[kind], reaches=kind in _OPEN_ENDED)
    for one in ("hidden", "popover", "autofocus"):
        if one in attributes:
            yield Harm(f"{one} attribute", "hide it", reaches=one == "autofocus")
    if attributes["background"].strip():
        yield Harm("a picture behind the words", "hide it", reaches=True)
    for one, most in (("cellspacing", 30), ("cellpadding", 30), ("border", 20)):
        if attribute_length(attributes[one]) > most:
            how = f"{one}={attributes[one][:20]}"
            yield Harm(how, "move it", reaches=one == "border")
    is_player = name in ("video", "audio") or (
        name == "object" and "data" in attributes
    )
    if is_player or "shadowrootmode" in attributes:
        yield Harm(f"another content of <{name}>", "change it", reaches=True)
    if name == "img" and attributes.get("srcset"):
        how = "another picture for other screens (srcset)"
        yield Harm(how, "change it", reaches=True)


def _harms_of_mixtures(
    name: str, declared: Sequence[Declaration], unsure: Choices
) -> Iterator[Harm]:
    """Yield what declarations could do to words that are harmless by themselves, but
    not in this kind of element or together.
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


def _is_usual(name: str, declaration: Declaration) -> bool:
    """Whether a declaration is harmless in this element: table cells grow with their
    words, and a picture has no words.
    """
    if name in ("html", "body"):
        return declaration.name == "height" and declaration.value == "100%"
    if name not in _GROWING:
        return False
    if declaration.name in ("height", "min-height"):
        return True
    is_size = declaration.name in ("width", "max-width", "min-width")
    pixels = length(declaration.value, whole=800)
    if declaration.name == "width" and name == "table":
        return pixels is not None and pixels <= 800
    if name in ("img", "hr"):
        if is_size and declaration.value not in ("auto", "none", "inherit"):
            return pixels is not None and 0 <= pixels <= 1200
        if declaration.name == "filter":
            return "shadow" not in declaration.value and "url" not in declaration.value
        return is_size or declaration.name in ("max-height", "float", "display")
    if declaration.name == "min-width":
        return pixels is not None and pixels <= 800
    if declaration.name == "max-width":
        return (
            declaration.value.endswith("%") or (length(declaration.value) or 100) >= 100
        )
    if not is_size:
        return False
    return declaration.value.endswith("%") or (
        name != "table" and not re.match(r"1?[0-9]px|0|-", declaration.value)
    )


def _cascaded(
    old: Sequence[Declaration], rules: Sequence[Rule], own: Sequence[Declaration]
) -> Values:
    """Return the values that apply, by property. In the order of the cascade these are:
    `old` attributes, rules, and the `own` style attribute.
    """
    sheet = [declaration for rule in rules for declaration in rule.declared]
    ordered = [
        *old,
        *(declaration for declaration in sheet if not declaration.important),
        *(declaration for declaration in own if not declaration.important),
        *(declaration for declaration in sheet if declaration.important),
        *(declaration for declaration in own if declaration.important),
    ]
    held = Values()
    for declaration in _expanded(ordered):
        if declaration.value.startswith("-ms-"):
            continue
        held.pop(declaration.name, None)
        value = _KEYWORD_VALUES.get(
            (declaration.name, declaration.value), declaration.value
        )
        # Any other such keyword counts as if nothing were declared.
        if value not in WIDE or declaration.name in {*_COLOURS, "text-align"}:
            held[declaration.name] = value
    return held


def _followed_values(rules: Iterable[Rule]) -> dict[str, tuple[str, ...]]:
    """Return the values of properties in `_FOLLOWED`, by property."""
    values_of: dict[str, dict[str, None]] = {}
    for declaration in _expanded(d for rule in rules for d in rule.declared):
        if _FOLLOWED.fullmatch(declaration.name):
            values_of.setdefault(declaration.name, {})[declaration.value] = None
    return {name: tuple(values) for name, values in values_of.items()}


def _expanded(declared: Iterable[Declaration]) -> Iterator[Declaration]:
    """Yield the declarations, with the properties that it sets for each shorthand."""
    for declaration in declared:
        name = declaration.name
        value = declaration.value
        if name.startswith("-webkit-") and name.endswith(("radius", "opacity")):
            yield declaration._replace(name=name.removeprefix("-webkit-"))
        elif name in _FOUR_SIDED:
            box, dash, what = name.partition("-")
            parts = parts_of(value)
            if 0 < len(parts) <= 4:
                # A missing right side is as the top, others as the opposite side.
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
            border_values = {
                "width": "medium",
                "style": "none",
                "color": "currentcolor",
            }
            for part in parts_of(value):
                if part in _LINES:
                    border_values["style"] = part
                elif colour_of(part) is not None:
                    border_values["color"] = part
                else:
                    border_values["width"] = part
            sides = _SIDES if name == "border" else (name.removeprefix("border"),)
            for side in sides:
                for what, part in border_values.items():
                    yield Declaration(f"border{side}-{what}", part)
        else:
            yield declaration


# Yields the declarations that the shorthand `font` sets; none if it cannot be read.
def _expanded_font(value: str) -> Iterator[Declaration]:
    parts = font_parts(value)
    values = {}
    if value in WIDE:
        names = ("font-style", "font-weight", "font-size", "line-height", "font-family")
        values = dict.fromkeys(names, value)
    elif parts is not None:
        words = parts["style"].split()
        values = {
            "font-style": next((one for one in words if one in SLANTS), "normal"),
            "font-weight": next((one for one in words if one in WEIGHTS), "normal"),
            "font-size": parts["size"],
            "line-height": parts["line"] or "normal",
            "font-family": parts["family"],
        }
    return starmap(Declaration, values.items())
