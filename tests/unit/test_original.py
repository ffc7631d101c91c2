"""The original look: what of the original HTML is drawn, and that nothing of it acts or
has an address.
"""

import re

from common.fingerprint import Content
from rendering.original import draw_original

PNG = "data:image/png;base64,iVBORw0KGgo="


def drawn(html, **fields):
    return draw_original(Content(html=html, **fields))


def test_looks_of_the_original_are_kept():
    document = drawn(
        "<!DOCTYPE html><html style='color:red'><style media=print>body > .a{display:none}</style>"
        f"<body bgcolor=red text='#fff'><p class=a id=b style='float:left'>x<img src='{PNG}' alt=y>"
        f"<noscript><b>no</b></noscript><My-Box hidden>z</My-Box><td background=x><p style='background:url({PNG})'>",
        additions={"signature": "Ana"},
    )
    for kept in (
        '<!doctype html><html style="color:red" lang="en">',
        '<style media="print">body > .a{display:none}</style>',
        '<body bgcolor="red" text="#fff">',
        f'<p class="a" id="b" style="float:left">x<img src="{PNG}" alt="y">',
        "<b>no</b>",
        '<my-box hidden="">z</my-box>',
        f'style="background:url({PNG})"',
        "<p>-- <br>Ana</p>",
    ):
        assert kept in document


# What loads something, or ends the style sheet.
CSS = r"""
@\69mport 'x.example';
a{b:u\72l(//x.example/{)}
a{b:URL( '//x.example' )}
a{b:url('data:image/svg+xml,x.example')}
a{b:-webkit-image-set('//x.example' 1x)}
a{content:'<\/style><img src=//x.example>'}
"""


def test_style_loads_nothing_ends_no_sheet_and_the_rule_after_it_holds():
    for css in CSS.split("\n"):
        document = drawn(f'<style>{css} p{{color:red}}</style><p style="{css}">Hello')
        assert not re.search(r"(?i)url\(|image-set\(|@import", document), css
        assert document.count("</style>") == 2, css
        assert "p{color:red}</style></head>" in document, css


def test_nothing_that_acts_or_has_an_address_is_drawn():
    document = drawn(
        "<base href=//x.example><meta http-equiv=refresh content='0;//x.example'><link rel=stylesheet href=//x.example>"
        "<body onload=x() background=//x.example><a href=//x.example ping=//x.example>link</a>"
        "<form action=//x.example><input autofocus src=//x.example formaction=//x.example></form>"
        "<img src=//x.example srcset='//x.example 2x'><iframe src=//x.example>x.example</iframe>"
        "<svg><style><img src=//x.example onerror=x()></style></svg><object data=//x.example></object>"
        f"<p style='{'(' * 600}' title=\"<style>'><img src=x onerror=x>'\">deep<script>x.example()</script>"
    )
    assert "x.example" not in document
    assert "x()" not in document
    assert "<img src" not in document
    assert '<a>link</a><form><input disabled=""></form><img>' in document
