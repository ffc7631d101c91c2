"""Invisible characters: named where they deceive, left alone where ordinary writing
needs them.
"""

from rendering import found_in, named

# Default_Ignorable_Code_Point of DerivedCoreProperties.txt, Unicode 16.
IGNORABLE = (
    *(0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180F, 0x200B),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    *(0x3164, 0xFE00, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFF0, 0xFFF8, 0x1BCA0, 0x1D173),
    *range(0xE0000, 0xE1000),
)


def test_every_character_that_unicode_says_may_be_left_undrawn_is_named():
    between = {code: named(f"a {chr(code)} b") for code in IGNORABLE}
    assert [
        hex(code)
        for code, text in between.items()
        if chr(code) in text or "[" not in text
    ] == []


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
    families = ["👨\u200d👩\u200d👧", "👩🏽\u200d🚀", "❤\ufe0f"]
    ordinary = [
        "plain\ttext\r\n",
        *families,
        "می\u200cخواهم",
        "क्\u200dष",
        "café naïve — “x”",
        "\xa0",
    ]
    assert [named(text) for text in ordinary] == ordinary
    assert [text for text in ordinary if found_in(text)] == []
