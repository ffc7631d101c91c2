"""The language and the direction of a text stay in its simple form, which is shown at
the desk and leaves: programs read it aloud, hyphenate and order it by them.
"""

from common.fingerprint import Content
from rendering.render import render_message
from simple_form import simplify


def test_language_and_direction_stay_in_what_leaves_and_in_what_is_shown():
    source = (
        "<html lang=he dir=rtl><body><p>\u05e9\u05dc\u05d5\u05dd</p><p lang=fr dir=ltr>Bonjour</p>"
        "<p lang='x\" onclick=y'>?</p></body></html>"
    )
    for html in (simplify(source).html, render_message(Content(html=source)).document):
        for kept in ('lang="he"', 'dir="rtl"', 'lang="fr"', 'dir="ltr"'):
            assert kept in html, kept
        assert "onclick" not in html
