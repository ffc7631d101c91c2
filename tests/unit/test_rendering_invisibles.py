"""Invisible characters: named where they deceive, left alone where ordinary writing
needs them.
"""

import re

from rendering import found_in, named

# Default_Ignorable_Code_Point of DerivedCoreProperties.txt, Unicode 16.
IGNORABLE = """
    ad-ad 34f-34f 61c-61c 115f-1160 17b4-17b5 180b-180f 200b-200f 202a-202e 2060-206f
    3164-3164 fe00-fe0f feff-feff ffa0-ffa0 fff0-fff8 1bca0-1bca3 1d173-1d17a e0000-e0fff
"""


def test_every_character_that_unicode_says_may_be_left_undrawn_is_named():
    for first, last in re.findall("([0-9a-f]+)-([0-9a-f]+)", IGNORABLE):
        for code in range(int(first, 16), int(last, 16) + 1):
            assert "[" in named(f"a {chr(code)} b"), hex(code)


def test_deceiving_characters_are_named():
    shown = {
        "a\u200bb": "a[ZERO WIDTH SPACE]b",
        "a\u200b\u200b\u200bb": "a[ZERO WIDTH SPACE × 3]b",
        "a\u200b\u2060b": "a[2 invisible characters: ZERO WIDTH SPACE, WORD JOINER]b",
        "in\u202efdp.exe": "in[RIGHT-TO-LEFT OVERRIDE]fdp.exe",
        "so\u00adft": "so[SOFT HYPHEN]ft",
        "x\ufe0f\ufe0fy": "x\ufe0f[VARIATION SELECTOR]y",
        "\u3164": "[HANGUL FILLER]",
        "a\x1bb\x07": "a[CONTROL CHARACTER]b[CONTROL CHARACTER]",
        "a\ud800": "a[LONE SURROGATE]",
        "ok\U000e006f\U000e006b": "ok[2 invisible characters say “ok”]",
    }
    assert {text: named(text) for text in shown} == shown


def test_ordinary_writing_is_left_alone():
    flag = "".join(
        map(chr, (0x1F3F4, 0xE0067, 0xE0062, 0xE0065, 0xE006E, 0xE0067, 0xE007F))
    )
    ordinary = [
        "plain\ttext\r\n café naïve — “x” \xa0",
        "👨\u200d👩\u200d👧 👩🏽\u200d🚀 ❤\ufe0f",
        "می\u200cخواهم क्\u200dष",
        flag,
    ]
    assert [named(text) for text in ordinary] == ordinary
    assert [text for text in ordinary if found_in(text)] == []
