"""The order in which a layout is read: what changes it is told, and what only looks like it is not."""

from common.fingerprint import Content
from rendering.render import render_message

# Layouts, and how each may be read: None where nothing is said, empty where it cannot be worked out.
READ = {
    "<p>a <b style='float:right'>b</b> c</p>": "a c b",
    "<p>a <b style='float:right'>b</b></p><p>c</p>": None,
    "<p><b style='float:right'>b</b></p><p>c</p>": "",
    "<div><b style='float:right'>b</b><p style='clear:both'>c</p></div>": None,
    "<table><tr><td>a <b style='float:right'>b</b></td><td>c</td></tr></table>": None,
    "<p>a <b style='float:left'>b</b></p>": "b a",
    "<p>a<br><b style='float:left'>b</b></p>": None,
    "<p><table align=right><tr><td>a</td></tr></table>b</p>": "b a",
    "<div style='display:flex'><b style='order:1'>a</b><b>b</b></div>": "b a",
    "<div style='display:flex'><b style='order:1'>a</b><b style='order:2'>b</b></div>": None,
    "<div><b style='order:1'>a</b><b>b</b></div>": None,
    "<div style='display:flex'><i style='display:contents'><b style='order:1'>a</b></i><b>b</b></div>": "b a",
    "<div style='display:flex'><b style='order:1'></b><b>b</b></div>": None,
    "<div style='display:flex;flex-flow:column-reverse'><p>a</p><p>b</p></div>": "b a",
    "<div style='display:flex;flex-wrap:wrap-reverse'><p>a</p><p>b</p></div>": "",
    "<div style='display:grid'><p style='grid-row:2'>a</p><p>b</p></div>": "",
    "<div style='display:grid'><p>a</p><p>b</p></div>": None,
    "<table><tr><td>a</td></tr><caption>b</caption></table>": "b a",
    "<table style='caption-side:bottom'><caption>a</caption><tr><td>b</td></tr></table>": "b a",
    "<table><tbody><tr><td>a</td></tr></tbody><thead><tr><td>b</td></tr></thead></table>": "b a",
    "<fieldset><p>a</p><legend>b</legend></fieldset>": "b a",
    "<details open><p>a</p><summary>b</summary></details>": "b a",
    "<p>a <b style='position:relative;left:50px'>b</b></p>": "",
    "<p>a <b style='position:relative;left:2px'>b</b></p>": None,
    "<p>a <i style='position:relative;left:4px'><b style='position:relative;left:4px'>b</b></i></p>": "",
    "<p style='position:relative;left:50px'>all of it</p>": None,
    "<p>a</p><p style='margin-top:-30px'>b</p>": "",
    "<div style='padding:0 20px'><p style='margin:0 -20px'>a</p><p>b</p></div>": None,
    "<p style='margin-left:-20px'>a</p><p>b</p>": "",
    "<p style='direction:rtl'>a - b</p>": "",
    "<p style='direction:rtl'>word</p>": None,
    "<p dir=rtl>שלום 12 עולם</p>": None,
    "<p dir=rtl><bdo dir=ltr>שלום</bdo></p>": "םולש",
    "<p><bdo dir=rtl>ab</bdo></p>": "ba",
    "<p style='writing-mode:vertical-rl'>a</p><p>b</p>": "",
    "<p>a <b style='display:inline-block;transform:scaleX(-1)'>b</b></p>": "",
    "<body style='direction:rtl'><p>a - b</p>": "",
    "<body style='display:flex;flex-direction:column-reverse'><p>a</p><p>b</p>": "b a",
}


def test_layout_that_reads_in_another_order_is_reported_with_both_readings():
    reordered = {html: render_message(Content(html=html)).reordered for html in READ}
    assert {html: found[0].read if found else None for html, found in reordered.items()} == READ
    assert {found[0].certain for found in reordered.values() if found} == {True}


def test_both_readings_stand_in_the_message_shortly_before_they_differ():
    words = " ".join(f"word{number}" for number in range(200))
    shown = render_message(Content(html=f"<p>{words} not <b style='float:right'>1</b> but 9000 {words}</p>"))
    [one] = shown.reordered
    assert one.written.startswith("… ")
    assert " not 1 but 9000 word0" in one.written
    assert " not but 9000 word0" in one.read
    label = "displayed in a different order (set to the right): source has “"
    assert f'id="{one.mark}" class="ghost">{label}' in shown.document
    assert "the recipient may read “" in shown.text


def test_reordered_parts_are_reported_up_to_a_limit():
    part = "<div><p>a <b style='float:right'>b</b> c</p></div>"
    assert len(render_message(Content(html=part * 100)).reordered) == 30
