"""Writes the number of a cell as Excel shows it by the cell's number format, such as
`0%` or `d mmm yyyy`, with English names and separators.
"""

import re
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from common.tables import table_pairs

# Excel takes no longer format.
MAX_FORMAT = 255
# The formats that Excel knows by a number. Those for dates follow the country of the
# reader's computer; here they are written as ISO does.
BUILT_IN = table_pairs("""
1  | 0
2  | 0.00
3  | #,##0
4  | #,##0.00
9  | 0%
10 | 0.00%
11 | 0.00E+00
12 | # ?/?
13 | # ??/??
14 | yyyy-mm-dd
15 | d-mmm-yy
16 | d-mmm
17 | mmm-yy
18 | h:mm AM/PM
19 | h:mm:ss AM/PM
20 | h:mm
21 | h:mm:ss
22 | yyyy-mm-dd h:mm
37 | #,##0;(#,##0)
38 | #,##0;(#,##0)
39 | #,##0.00;(#,##0.00)
40 | #,##0.00;(#,##0.00)
45 | mm:ss
46 | [h]:mm:ss
47 | mm:ss
""")
# Day 0, by whether days are counted from 1904.
_DAY_0 = {False: datetime(1899, 12, 30), True: datetime(1904, 1, 1)}  # noqa: DTZ001 -- a sheet knows no zone
_SECTION = re.compile(r'((?:"[^"]{0,255}+"|\\.|[^;"\\]){0,255}+);')
# A piece of a format: literal text, a currency, an elapsed time, a colour or condition,
# a part of a date, or the digits of a number.
_PIECE = re.compile(
    r'"(?P<text>[^"]{0,255}+)"|[\\!](?P<letter>.)|[_*].'
    r"|\[\$(?P<currency>[^\]-]{0,99}+)[^\]]{0,99}+\]|\[(?P<elapsed>h+|m+|s+)\]|\[[^\]]{0,255}+\]"
    r"|(?P<date>AM/PM|y+|m+|d+|h+|s+(?:\.0+)?)"
    r"|(?P<digits>[0#?][0#?,. /]*+(?:E[+-][0#?]++)?)",
    re.I | re.S,
)
# The parts of a date, as Python writes them.
_DATES = dict(
    one.split("=")
    for one in """
d={0.day} dd={0:%d} ddd={0:%a} dddd={0:%A} m={0.month} mm={0:%m} mmm={0:%b} mmmm={0:%B}
mmmmm={0:%b} yy={0:%y} h={0.hour} hh={0:%H} s={0.second} ss={0:%S} am/pm={0:%p}
""".split()
)
_MINUTES = {"m": "{0.minute}", "mm": "{0:%M}"}
_OF_TWELVE = dict.fromkeys(("h", "hh"), "{0:%I}")
_UNITS = {"h": 24, "m": 1440, "s": 86400}


def shown(value: str, code: str, *, is_from_1904: bool = False) -> tuple[str, str]:
    """Return the text for a number, and a note: of the value if the text does not tell
    it, of the format if that cannot be read here.
    """
    try:
        number = Decimal(value)
        parts = sections(code) or ["General"]
        section = parts[0]
        if len(parts) > 1 and number < 0:
            section = parts[1]
            number = -number
        elif len(parts) > 2 and not number:
            section = parts[2]
        plain = format(float(value), ".15g") if "." in value else value
        literal = f'"{plain.removeprefix("-")}"'
        section = re.sub("general", literal, section, flags=re.I)
        kinds = [one.lastgroup for one in _PIECE.finditer(section)]
        is_unread = re.search("[#?0]/|/[#?0-9]|[<>=]", re.sub('"[^"]*+"', "", code))
        if is_unread or kinds.count("digits") > 1 or len(code) > MAX_FORMAT:
            # Fractions, conditions, and digits with words between them.
            return value, f" (format: {code})"
        if "date" in kinds or "elapsed" in kinds:
            moment = _DAY_0[is_from_1904] + timedelta(days=float(number))
            return _write(section, number, moment), ""
        text = _write(section, number, None)
        told = re.sub(r"[^\d.]", "", text)
        factor = 100 if "%" in text else 1
        if told and Decimal(told) == abs(Decimal(plain)) * factor:
            return text, ""
        return text, f" (value: {value})"
    except (ArithmeticError, ValueError):
        return value, f" (format: {code})"


def sections(code: str) -> list[str]:
    """Return the parts of a format: for positive numbers, negative ones, 0 and text."""
    return _SECTION.findall(f"{code[:MAX_FORMAT]};" if code else "")


def _write(section: str, number: Decimal, moment: datetime | None) -> str:
    out = []
    at = 0
    before = ""
    for piece in _PIECE.finditer(section):
        out.append(section[at : piece.start()])
        at = piece.end()
        kind = piece.lastgroup or ""
        word = piece[kind].lower() if kind else ""
        if kind in ("text", "letter", "currency"):
            out.append(piece[kind])
        elif kind == "elapsed":
            out.append(str(int(number * _UNITS[word[0]])).zfill(len(word)))
        elif kind == "digits":
            out.append(_digits(number, piece[kind], "%" in section))
        elif kind == "date" and moment:
            # "m" is the minute after hours and before seconds.
            is_minute = before[:1] == "h" or re.match(r"[^a-z]*s", section[at:], re.I)
            names = _DATES | _MINUTES if is_minute else _DATES
            if re.search("am/pm", section, re.I):
                names = names | _OF_TWELVE
            name = names.get(word.partition(".")[0], "{0.year:04}")
            out.append(name.format(moment))
        if kind in ("elapsed", "date"):
            before = word
    out.append(section[at:])
    text = "".join(out).strip()
    # A number below 0 in the only section that there is.
    return f"-{text}" if number < 0 and not moment else text


def _digits(number: Decimal, code: str, is_percent: bool) -> str:
    # A number by its digits in a format, such as `#,##0.00`, without its sign.
    number = abs(number) * (100 if is_percent else 1)
    spaces = code[len(code.rstrip()) :]
    code = code.rstrip()
    body, exponent, power = code.partition("E")
    # Each comma at the end divides by a thousand.
    thousands = len(body) - len(body.rstrip(","))
    number = number.scaleb(-3 * thousands)
    places = len(body.partition(".")[2].replace(",", ""))
    if exponent:
        shift = number.adjusted() if number else 0
        text = f"{number.scaleb(-shift):.{places}f}E{'-' if shift < 0 else '+'}"
        return text + str(abs(shift)).zfill(len(power) - 1)
    rounded = number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    is_grouped = re.search("[0#?],[0#?]", body)
    text = f"{rounded:,}" if is_grouped else f"{rounded:f}"
    least = len(re.sub("[^0]", "", body.partition(".")[0]))
    before, point, after = text.partition(".")
    # "#" shows no zeros.
    optional = len(body) - len(body.rstrip("#")) if point else 0
    after = after[: len(after) - optional] + after[len(after) - optional :].rstrip("0")
    before = before.zfill(least) if least or before != "0" else ""
    return before + point + after + spaces
