"""Reads colours as CSS and old HTML attributes write them, and works out their contrast."""

import colorsys
import re
from functools import lru_cache

Colour = tuple[int, int, int, float]

WHITE: Colour = (255, 255, 255, 1.0)
INK: Colour = (29, 27, 24, 1.0)

# Below this contrast (1 is none, 21 is black on white) text cannot be read by anybody.
UNREADABLE = 1.5

_NAMED = {
    name: int(value, 16)
    for name, value in (
        pair.split(":")
        for pair in (
            "aliceblue:f0f8ff antiquewhite:faebd7 aqua:00ffff aquamarine:7fffd4 azure:f0ffff beige:f5f5dc "
            "bisque:ffe4c4 black:000000 blanchedalmond:ffebcd blue:0000ff blueviolet:8a2be2 brown:a52a2a "
            "burlywood:deb887 cadetblue:5f9ea0 chartreuse:7fff00 chocolate:d2691e coral:ff7f50 cornflowerblue:6495ed "
            "cornsilk:fff8dc crimson:dc143c cyan:00ffff darkblue:00008b darkcyan:008b8b darkgoldenrod:b8860b "
            "darkgray:a9a9a9 darkgreen:006400 darkgrey:a9a9a9 darkkhaki:bdb76b darkmagenta:8b008b "
            "darkolivegreen:556b2f darkorange:ff8c00 darkorchid:9932cc darkred:8b0000 darksalmon:e9967a "
            "darkseagreen:8fbc8f darkslateblue:483d8b darkslategray:2f4f4f darkslategrey:2f4f4f "
            "darkturquoise:00ced1 darkviolet:9400d3 deeppink:ff1493 deepskyblue:00bfff dimgray:696969 "
            "dimgrey:696969 dodgerblue:1e90ff firebrick:b22222 floralwhite:fffaf0 forestgreen:228b22 "
            "fuchsia:ff00ff gainsboro:dcdcdc ghostwhite:f8f8ff gold:ffd700 goldenrod:daa520 gray:808080 "
            "green:008000 greenyellow:adff2f grey:808080 honeydew:f0fff0 hotpink:ff69b4 indianred:cd5c5c "
            "indigo:4b0082 ivory:fffff0 khaki:f0e68c lavender:e6e6fa lavenderblush:fff0f5 lawngreen:7cfc00 "
            "lemonchiffon:fffacd lightblue:add8e6 lightcoral:f08080 lightcyan:e0ffff lightgoldenrodyellow:fafad2 "
            "lightgray:d3d3d3 lightgreen:90ee90 lightgrey:d3d3d3 lightpink:ffb6c1 lightsalmon:ffa07a "
            "lightseagreen:20b2aa lightskyblue:87cefa lightslategray:778899 lightslategrey:778899 "
            "lightsteelblue:b0c4de lightyellow:ffffe0 lime:00ff00 limegreen:32cd32 linen:faf0e6 magenta:ff00ff "
            "maroon:800000 mediumaquamarine:66cdaa mediumblue:0000cd mediumorchid:ba55d3 mediumpurple:9370db "
            "mediumseagreen:3cb371 mediumslateblue:7b68ee mediumspringgreen:00fa9a mediumturquoise:48d1cc "
            "mediumvioletred:c71585 midnightblue:191970 mintcream:f5fffa mistyrose:ffe4e1 moccasin:ffe4b5 "
            "navajowhite:ffdead navy:000080 oldlace:fdf5e6 olive:808000 olivedrab:6b8e23 orange:ffa500 "
            "orangered:ff4500 orchid:da70d6 palegoldenrod:eee8aa palegreen:98fb98 paleturquoise:afeeee "
            "palevioletred:db7093 papayawhip:ffefd5 peachpuff:ffdab9 peru:cd853f pink:ffc0cb plum:dda0dd "
            "powderblue:b0e0e6 purple:800080 rebeccapurple:663399 red:ff0000 rosybrown:bc8f8f royalblue:4169e1 "
            "saddlebrown:8b4513 salmon:fa8072 sandybrown:f4a460 seagreen:2e8b57 seashell:fff5ee sienna:a0522d "
            "silver:c0c0c0 skyblue:87ceeb slateblue:6a5acd slategray:708090 slategrey:708090 snow:fffafa "
            "springgreen:00ff7f steelblue:4682b4 tan:d2b48c teal:008080 thistle:d8bfd8 tomato:ff6347 "
            "turquoise:40e0d0 violet:ee82ee wheat:f5deb3 white:ffffff whitesmoke:f5f5f5 yellow:ffff00 "
            "yellowgreen:9acd32 canvas:ffffff window:ffffff field:ffffff canvastext:000000 windowtext:000000 "
            "fieldtext:000000 buttonface:f0f0f0 buttontext:000000 linktext:0000ee initial:000000"
        ).split()
    )
}
_HEX = re.compile(r"#([0-9a-f]{3,8})\b")
_FUNCTION = re.compile(r"\b(rgba?|hsla?|hwb|(?:ok)?lab|(?:ok)?lch|color)\(([^()]{0,100})\)")
_NUMBER = re.compile(r"([-+]?[0-9]*\.?[0-9]+)(%|deg)?")
_WORD = re.compile(r"[a-z]+")


@lru_cache(maxsize=4096)
def first_colour(value: str) -> Colour | None:
    """Return the first colour in a CSS value such as `#fff`, `1px solid red` or a gradient; None when there is none."""
    best: tuple[int, Colour] | None = None
    for found, colour in ((_HEX.search(value), _from_hex), (_FUNCTION.search(value), _from_function)):
        read = colour(found) if found else None
        if found and read and (best is None or found.start() < best[0]):
            best = (found.start(), read)
    for word in _WORD.finditer(value):
        if best is not None and word.start() > best[0]:
            break
        if word.group() == "transparent":
            return (0, 0, 0, 0.0)
        if word.group() in _NAMED and value[word.end() : word.end() + 1] != "(":
            return _from_integer(_NAMED[word.group()])
    return best[1] if best else None


def is_named(word: str) -> bool:
    """Whether this is the name of a colour."""
    return (word in _NAMED and word != "initial") or word in ("transparent", "currentcolor")


def attribute_colour(value: str) -> str:
    """Return the CSS form of an old `color` or `bgcolor` attribute; browsers make a colour of any word there."""
    value = value.strip(" \t\n\f\r").lower()
    if not value or is_named(value):
        return value
    if re.fullmatch(r"#[0-9a-f]{3}", value):
        return value
    wide = "".join("00" if ord(character) > 0xFFFF else character for character in value)[:128].removeprefix("#")
    digits = re.sub("[^0-9a-f]", "0", wide)
    digits = digits.ljust(max(3, -(-len(digits) // 3) * 3), "0")
    third = len(digits) // 3
    parts = [digits[i * third : (i + 1) * third][-8:] for i in range(3)]
    while len(parts[0]) > 2 and all(part[0] == "0" for part in parts):
        parts = [part[1:] for part in parts]
    return "#" + "".join(part[:2].rjust(2, "0") for part in parts)


def over(colour: Colour, background: Colour) -> Colour:
    """Return what `colour` looks like when it is laid over an opaque `background`."""
    alpha = colour[3]
    red, green, blue = (round(colour[i] * alpha + background[i] * (1 - alpha)) for i in range(3))
    return (red, green, blue, 1.0)


@lru_cache(maxsize=4096)
def contrast(first: Colour, second: Colour) -> float:
    """Return the contrast of two opaque colours as WCAG 2 defines it, from 1 to 21."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def why_unreadable(text: Colour, background: Colour) -> str:
    """Return in words why text of this colour cannot be read on this background."""
    if min(*text[:3], *background[:3]) >= 245:
        return "white on white"
    if max(*text[:3], *background[:3]) <= 20:
        return "black on black"
    return "colour close to its background"


def _luminance(colour: Colour) -> float:
    def linear(part: int) -> float:
        share = part / 255
        return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)

    return 0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])


def _from_integer(value: int) -> Colour:
    return (value >> 16, value >> 8 & 255, value & 255, 1.0)


def _from_hex(match: re.Match[str]) -> Colour | None:
    digits = match.group(1)
    if len(digits) in (3, 4):
        digits = "".join(d * 2 for d in digits)
    if len(digits) not in (6, 8):
        return None
    red, green, blue = (int(digits[i : i + 2], 16) for i in (0, 2, 4))
    return (red, green, blue, int(digits[6:8], 16) / 255 if len(digits) == 8 else 1.0)


def _from_function(match: re.Match[str]) -> Colour | None:
    name = match.group(1)
    parts = [(float(number), unit) for number, unit in _NUMBER.findall(match.group(2))]
    if len(parts) < 3:
        return None
    alpha = _share(parts[3], 1) if len(parts) > 3 else 1.0
    if name.startswith("rgb") or name == "color":
        red, green, blue = (round(255 * _share(part, 1 if name == "color" else 255)) for part in parts[:3])
        return (red, green, blue, alpha)
    if name in ("lab", "oklab", "lch", "oklch"):
        # Only the lightness matters here: whether text is readable on its background.
        grey = round(255 * _share(parts[0], 1 if name.startswith("ok") else 100))
        return (grey, grey, grey, alpha)
    second, third = (_share(part, 100) for part in parts[1:3])
    hue = parts[0][0] / 360 % 1
    if name == "hwb":
        rgb = [c * max(0.0, 1 - second - third) + second for c in colorsys.hsv_to_rgb(hue, 1, 1)]
    else:
        rgb = list(colorsys.hls_to_rgb(hue, third, second))
    red, green, blue = (max(0, min(255, round(255 * part))) for part in rgb)
    return (red, green, blue, alpha)


def _share(part: tuple[float, str], whole: float) -> float:
    number, unit = part
    return max(0.0, min(1.0, number / (100 if unit == "%" else whole)))
