"""Styles: what is read of them, what is kept, and when text counts as hidden."""

import pytest

from common.fingerprint import Content
from rendering.colours import attribute_colour, contrast, first_colour, over
from rendering.css import Cascade, cleaned, declared, fetches
from rendering.css_values import is_sure, length
from rendering.elements import old_attributes
from rendering.layout_boxes import box_reason
from rendering.render import render_message
from rendering.sanitise import harmless_style, picture_size, seal
from rendering.styling import Sheets
from rendering.visibility import Look


def values(text):
    return Cascade().apply(declared(text)).style()


def test_colours_are_read_in_every_spelling():
    colours = {
        "#fff": (255, 255, 255, 1.0),
        "#10203080": (16, 32, 48, 128 / 255),
        "rgb(100%, 0%, 50%)": (255, 0, 128, 1.0),
        "rgb(1 2 3 / 50%)": (1, 2, 3, 0.5),
        "hsl(120, 100%, 25%)": (0, 128, 0, 1.0),
        "hsla(120, 100%, 25%, 50%)": (0, 128, 0, 0.5),
        "hwb(0 100% 0%)": (255, 255, 255, 1.0),
        "oklch(100% 0 0)": (255, 255, 255, 1.0),
        "lab(50 20 20 / .5)": (128, 128, 128, 0.5),
        "oklab(.2 0 0)": (51, 51, 51, 1.0),
        "lch(50% 0 0)": (128, 128, 128, 1.0),
        "hsl(0 50 50)": (191, 64, 64, 1.0),
        "color(srgb 1 .2 0)": (255, 51, 0, 1.0),
        "1px solid rebeccapurple": (102, 51, 153, 1.0),
        "transparent": (0, 0, 0, 0.0),
        "linear-gradient(to right, #000, white)": (0, 0, 0, 1.0),
        "inherit": None,
        "": None,
    }
    assert {text: first_colour(text) for text in colours} == colours
    # Contrast is that of WCAG.
    assert contrast((0, 0, 0, 1.0), (255, 255, 255, 1.0)) == pytest.approx(21)
    assert contrast((128, 128, 128, 1.0), (5, 5, 5, 1.0)) == pytest.approx(5.16, abs=0.01)


def test_old_colour_attribute_is_a_colour_whatever_its_word():
    # As Chromium shows <font color="...">.
    colours = {" Red\n": "red", "#F00": "#f00", "": "", "f00": "#0f0000", "1": "#010000", "#12g": "#010200"}
    colours |= {
        "\xa0red": "#00ed00",
        "#ff0000": "#ff0000",
        "chucknorris": "#c00000",
        "123456789": "#124578",
        "zz#": "#000000",
    }
    colours |= {"#0000ff00aa00": "#00ffaa", "0000c1000d2000e3": "#000de3", "\U0001f60000ff": "#0000ff"}
    colours |= {"100000000" * 3: "#000000", "000000000a000000000b000000000c": "#0a0b0c", "0" * 126 + "12345": "#000012"}
    assert {word: attribute_colour(word) for word in colours} == colours


def test_escapes_are_decoded_and_escaped_delimiters_are_no_delimiters():
    read = {
        r"c\olor:r\65 d\;x": "color:red\ufffdx",
        "a/* x */b\fc'\\\n'": "a b\nc''",
        r"'a\62 c\"e'": "'abc\ufffde'",
        r"'\0 \d800 \110000 \41'": "'\ufffd\ufffd\ufffdA'",
        r"url(a\29 b'c)": "url(a\ufffdb\ufffdc)",
        r"a\_b\-c\e9 \.d": "a_b-c\xe9\ufffdd",
    }
    assert {text: cleaned(text) for text in read} == read


def test_variables_are_put_in_three_deep_and_in_bounds():
    assert values("--A:red;color:var(--A)") == {"color": "red"}
    assert values("--a:var(--b);--b:var(--c);--c:lime;color:var(--a)") == {"color": "lime"}
    assert values("--a:var(--b);--b:var(--c);--c:var(--d);--d:lime;color:var(--a)") == {"color": "var(--d)"}
    assert values("color:var(--none,blue);background:var(--none)") == {"color": "blue"}
    long = values("--a:" + "x" * 300 + ";background:" + "var(--a) " * 6)["background"]
    assert (len(long), long[:201]) == (1000, "x" * 200 + " ")


def test_rules_that_some_mail_programs_ignore_are_listed_separately():
    doubts = {
        "color:color-mix(in srgb, red, blue)": {"color": "transparent"},
        "color:red;color:color-mix(in srgb, red, blue)": {"color": "color-mix(in srgb, red, blue)"},
        "color:red!important;color:color-mix(in srgb, red, blue)": {},
        "display:foo": {"display": ""},
        "filter:frob(1)": {"filter": ""},
        "display:foo;display:none": {},
    }
    assert {style: Cascade().apply(declared(style)).in_doubt() for style in doubts} == doubts
    assert Cascade().apply(declared("color:red"), certain=False).in_doubt() == {"color": "red"}


# Of each property a value that is followed, and one of which nobody here knows what it does.
CLEAR = {
    "color": ("#fff", "highlighttext"),
    "color ": ("rgb(1 2 3)", "rgb(from red r g b)"),
    "background-color": ("red", "var(--none)"),
    "display": ("-ms-flexbox", "grid-lanes"),
    "height": ("calc(1px + 1em)", "1cqh"),
    "opacity": (".5", "if(style(--a:1): 1; else: 0)"),
    "width": ("50%", "attr(data-w px)"),
    "box-shadow": ("0 2px 8px rgba(0,0,0,.2)", "inset 0 0 0 90px #fff"),
    "text-shadow": ("0 1px 0 #fff", "-60px 0 #fff"),
    "outline": ("none", "90px solid #fff"),
    "grid-template-rows": ("auto 1fr", "0fr"),
    "color-scheme": ("light dark", "dark"),
    "-webkit-font-smoothing": ("antialiased", "inherit; line-clamp: 1"),
    "flex": ("1 1 0", "0 0 0"),
    "filter": ("grayscale(1)", "url(#x)"),
    "mso-padding-alt": ("0", "0; mask-border: url(x) 1"),
    "colour": ("red", "red; reading-flow: flex-visual"),
}


def test_what_nobody_here_knows_of_a_property_that_can_hide_is_unclear():
    unclear = {(n, v): Cascade().apply(declared(f"{n}:{v}")).unclear for n, values in CLEAR.items() for v in values}
    wrong = [(n, v) for n, (clear, odd) in CLEAR.items() for v in (clear, odd) if bool(unclear[n, v]) != (v == odd)]
    assert wrong == []
    # What is declared after it in words that are known counts.
    assert Cascade().apply(declared("opacity:if(x);opacity:1")).unclear == set()
    assert Cascade().apply(declared("-webkit-transform:scale(0)")).style() == {"transform": "scale(0)"}


def test_declarations_survive_comments_escapes_and_strings():
    assert values("c/**/olor:red; d\\69splay:none; COLOR : Blue") == {"color": "blue", "display": "none"}
    assert values('font-family:"a;b";color:red') == {"color": "red"}
    assert values("background:url(data:image/png;base64,x) #123") == {"background": "#123"}
    assert values("color:red!important;color:blue") == {"color": "red"}
    assert values("unknown:1;color") == {}


def test_what_css_would_fetch_is_found_and_what_it_carries_itself_is_none():
    fetched = ["url(http://a.example)", "URL( 'http://a.example' )", "image-set('http://a.example' 1x)"]
    assert [len(fetches(text)) for text in (*fetched, "src('//a.example')")] == [1, 1, 1, 1]
    assert fetches("url(data:image/png;base64,x) url(#a)") == []


def test_lengths_are_read():
    pixels = {"0": 0, "12px": 12, "1.5em": 24, "-1e3px": -1000, "50%": 300, "calc(-99px)": -99, "auto": None}
    assert {value: length(value) for value in pixels} == pixels


def test_styles_that_hide_nothing_are_not_called_hiding():
    # Without a position left moves nothing; without overflow the text of no height shows.
    hide_nothing = ["left:-9999px", "height:0", "overflow:hidden", "max-height:0;overflow:hidden;padding-top:30px"]
    hide_nothing += ["margin-left:-20px", "text-indent:-2em", "transform:rotate(3deg)", "clip:rect(0,0,0,0)"]
    for style in (*hide_nothing, "opacity:.9", "font-size:11px"):
        assert (box_reason(values(style)), Look().inside(values(style)).hides()) == ("", ""), style


# What text of this style cannot be seen by, on white.
HIDING = {
    "filter:blur(3px)": "no opacity",
    "filter:blur(2px) opacity(.5)": "",
    "filter:opacity(5%)": "no opacity",
    "opacity:10%": "no opacity",
    "opacity:.11": "",
    "opacity:.3;filter:opacity(.3)": "no opacity",
    "font-size:0": "font size 0",
    "font-size:0.9px": "font size 0",
    "font-size:2px": "tiny font size",
    "font:1px Arial": "tiny font size",
    "font-size:xx-small": "",
    "visibility:hidden": "visibility: hidden",
    "visibility:collapse": "visibility: hidden",
    "color:#f5f5f5": "white on white",
    "color:#f4f4f4": "colour close to its background",
    "color:#00000001": "white on white",
    "background:#000;color:#141414": "black on black",
    "background:#000;color:#151515": "colour close to its background",
    "background:#555;color:#575757": "colour close to its background",
    "-webkit-text-fill-color:transparent": "white on white",
    "color:#fff;-webkit-text-fill-color:#000": "",
}


def test_style_that_hides_is_named():
    assert {style: Look().inside(values(style)).hides() for style in HIDING} == HIDING
    visible = Look().inside(values("visibility:hidden")).inside(values("visibility:visible"))
    assert visible.hides() == ""
    sizes = {"smaller": 16 * 0.83, "larger": 16 * 1.2, "2em": 32, "50%": 8, "medium": 16, "nonsense": 16}
    assert {size: Look().inside(values(f"font-size:{size}")).size for size in sizes} == sizes
    assert over((0, 0, 0, 0.5), (255, 255, 255, 1.0)) == (128, 128, 128, 1.0)


# Properties, values that every mail program follows, and those that some may pass over.
SURE = {
    "opacity": (["5%", ".5", "calc(1)"], ["x", "1 1"]),
    "zoom": (["normal", "2"], ["none"]),
    "scale": (["none", "1 2 3"], ["1 2 3 4"]),
    "transform": (["none", "rotate(3deg)", "inherit"], ["frob(3)", "rotate(3deg) frob(3)"]),
    "display": (["none", "grid"], ["foo"]),
    "color": (["red", "#fff", "rgb(1,2,3)", "hsl(1 2% 3%)"], ["color-mix(in srgb, red, blue)", "#12345"]),
    "background": (["#fff", "no-repeat 0 0/cover"], ["linear-gradient(#000,#fff)", "red blue"]),
    "background-image": (["none"], ["linear-gradient(#000,#fff)"]),
    "font-size": (["12px", "smaller", "calc(2px)"], ["12foo", "1px 1px"]),
    "margin": (["0 auto 1px 2px", "auto"], ["1px 1px 1px 1px 1px", "none"]),
    "font": (["bold 12px/1.5 arial", "small arial"], ["12px", "arial"]),
    "float": (["left", "anything"], []),
}


def test_value_is_sure_where_every_mail_program_follows_it():
    followed = {
        name: [value for value in (*sure, *not_sure) if is_sure(name, value)] for name, (sure, not_sure) in SURE.items()
    }
    assert followed == {name: sure for name, (sure, _) in SURE.items()}


def test_ground_of_a_box_smaller_than_a_line_is_not_behind_its_text():
    grounds = {
        style: Look().in_doubt("p", values(f"background:#000;font-size:20px;{style}")).background[0]
        for style in ("", "height:20px", "width:auto", "height:19px", "max-height:19px", "width:.9em", "max-width:1px")
    }
    assert list(grounds.values()) == [0, 0, 0, 255, 255, 255, 255], grounds


def test_ground_is_the_colour_that_holds_and_what_is_drawn_over_it():
    black = {
        *("background:#000", "background-color:#000", "background:#fff;background-color:#000"),
        *("background-color:#fff;background:url(x) #000", "background-color:#000!important;background:#fff"),
        *("background:linear-gradient(#000,#fff);background-color:#fff", "background:#fff linear-gradient(#000,red)"),
        *("background-color:#000;background-color:nonsense", "background:#fff;background-image:linear-gradient(#000)"),
    }
    white = {
        *("", "background:#000;background-color:transparent", "background:#000;background-color:rgba(0,0,0,0)"),
        *("background:#000;background-color:initial", "background-color:#000;background:none"),
        *("background:#000;background-color:#fff!important;background:#000", "background-color:inherit"),
        *("background:linear-gradient(#fff,#000);background-color:#000", "background:url(x)"),
    }
    grounds = {style: Look().inside(values(style)).background[0] for style in black | white}
    assert grounds == dict.fromkeys(black, 0) | dict.fromkeys(white, 255)


def test_ground_of_blocks_around_is_behind_what_lies_in_them_and_not_behind_what_floats():
    outer = Look().in_doubt("div", values("background:#000"))
    around = outer.in_doubt("p", values("color:#fff"), "", "seen by some")
    assert (around.background[0], around.cell_background[0], around.possible) == (0, 255, "seen by some")
    for style in ("position:absolute", "position:fixed", "float:left", "float:right"):
        assert outer.in_doubt("p", values(style)).background[0] == 255, style
    # What a span paints lies behind its words only.
    assert Look().in_doubt("span", values("background:#000")).in_doubt("p", {}).background[0] == 255
    assert outer.in_doubt("td", {}).cell_background[0] == 0


def test_size_of_a_picture_is_bounded():
    sizes = {"10": ' width="10"', "5000": ' width="1200"', "12345": ' width="1200"', "20px": ' width="20"', "x": ""}
    assert {size: picture_size({"width": size}) for size in sizes} == sizes
    assert picture_size({"height": "1200", "width": "0"}) == ' width="0" height="1200"'
    assert picture_size({}) == ""


def test_sheets_distinguish_certain_rules_from_possible_ones():
    sheets = Sheets()
    sheets.present |= {f".{name}" for name in "abcdef"}
    sheets.read("p.a{color:red} .b .c{color:red} @media print{.d{color:red}} .e:hover{color:red} .f:not(.g){color:red}")
    certain = {name: [r.certain for r in sheets.matching("p", "", name)] for name in "acdef"}
    assert certain == {"a": [True], "c": [False], "d": [False], "e": [], "f": [False]}


def test_rule_is_of_what_lies_in_the_classes_that_it_asks_for():
    sheet = "<style>.dark .x{color:#fff} #top p{display:none} .gone i{display:none}</style>"
    shown = render_message(
        Content(html=f"{sheet}<p class=x>light</p><div class=dark><p class=x>white</p></div><i>i</i>")
    )
    assert [one.text for one in shown.hidden] == ["white"]
    shown = render_message(Content(html=f"{sheet}<body id=top><p>told</p>"))
    assert [one.text for one in shown.hidden] == ["told"]


def test_only_known_values_are_preserved():
    assert harmless_style(values("font-family:Courier New"), 16, True) == "font-family:monospace;"
    assert harmless_style(values("font-family:Arial"), 16, True) == "font-family:sans-serif;"
    style = values("color:red;padding:5px 500px;border:2px dashed #000;font-family:x,monospace;width:9999px;float:left")
    assert harmless_style(style, 16, True) == (
        "color:rgb(255,0,0);font-family:monospace;padding:5px 64px;border:2px solid rgb(0,0,0);width:1200px;"
    )


def test_seal_lets_nothing_through_that_is_not_listed():
    hostile = (
        '<p class="ghost" onclick="x" style="position:fixed">a<span class="ghost x">b</span>'
        '<img src="http://a.example">'
        '<img src="data:text/html,x"><a href="http://a.example" title="t">c</a><style>x</style>'
        '<svg><a href="x">d</a></svg></p>'
    )
    sealed = seal(hostile)
    assert sealed.startswith('<p>a<span class="ghost">b</span><img><img><a title="t">c</a>')
    assert "http" not in sealed


def test_attributes_from_before_css_are_read_as_it():
    read = [
        ("td", {"bgcolor": "RED"}, {"background-color": "red"}),
        ("b", {"bgcolor": "red", "color": "red", "text": "red", "size": "7"}, {}),
        ("font", {"color": "#f00", "size": " 7 "}, {"color": "#f00", "font-size": "48px"}),
        ("body", {"text": "red"}, {"color": "red"}),
        (
            "p",
            {"dir": " RTL ", "align": "Right"},
            {"direction": "rtl", "unicode-bidi": "isolate", "text-align": "right"},
        ),
        ("p", {"dir": "up", "align": "middle"}, {}),
        ("dialog", {}, {"position": "absolute"}),
    ]
    assert [(name, value, old_attributes(name, value)) for name, value, _ in read] == read


def test_elements_written_alike_are_judged_by_what_each_lies_in():
    white = "<p style='color:#fff'>{} <a href='https://a.example/'>{}</a></p>"
    blue = "<div style='background:#1e5aa8'>"
    html = f"<div style='background:#000'>{white.format('one', 'two')}</div>{white.format('three', 'four')}"
    shown = render_message(Content(html=f"{html}{blue}{white.format('five', 'six')}</div>{white.format('seven', '8')}"))
    assert [hidden.text for hidden in shown.hidden] == ["three", "six", "seven"]
