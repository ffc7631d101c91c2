"""Invisible characters: named where they deceive, left alone where ordinary writing needs them."""

from rendering import found_in, named, stripped


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
    ordinary = ["plain\ttext\r\n", *families, "می\u200cخواهم", "क्\u200dष", "café naïve — “x”", "\xa0"]
    assert [named(text) for text in ordinary] == ordinary
    assert [text for text in ordinary if found_in(text)] == []


def test_characters_are_counted_by_name_and_can_be_removed():
    assert found_in("a\u200b\u202eb\u200b") == {"ZERO WIDTH SPACE": 2, "RIGHT-TO-LEFT OVERRIDE": 1}
    assert stripped("p\u200ba\u202ess") == "pass"
