"""Everybody can use the pages: what opens on them, zoomed windows, the keyboard, a
phone.

That axe-core finds nothing on any page is proven by tests/browser/test_every_page.py.
"""

import pytest
from playwright.sync_api import expect

from tests.browser.looking import everywhere, lost_focus, open_up, settled, too_wide
from tests.browser.pages import OPENED, PAGES
from tests.desk import some_words

pytestmark = pytest.mark.slow
LONG = f"{'x' * 40}@{'sub.' * 12}customer.example"


@pytest.fixture
def known(product, hold):
    """A held message and one of high risk with much to say, by their pages."""
    product.make_room(but=15)
    row = hold(cc="lee@fabrikam.example")
    lie = "[https://acme.example/pay](https://evil.example/pay)"
    body = f"{'W' * 900}\n\n{lie}\n\n{some_words()}"
    crowded = hold(
        "Donaudampfschifffahrt" * 20, to=[f"{n}{LONG}" for n in range(20)], body=body
    )
    return {
        "held": f"/queue/{row['id']}/",
        "crowded": f"/queue/{crowded['id']}/",
        "id": row["id"],
    }


@pytest.fixture
def address(product, known):
    return lambda path: product.known["DASHBOARD_URL"] + path.format(**known)


def test_axe_finds_nothing_on_what_opens_on_a_page(open_page, signed_in, address):
    page = open_page(storage_state=signed_in)
    found = {}
    for name, (path, steps, there) in OPENED.items():
        page.set_viewport_size({"width": 1440, "height": 900})
        settled(page, address(path))
        open_up(page, steps, there)
        found[name] = everywhere(page)
    assert {name: some for name, some in found.items() if some} == {}


def test_zoomed_message_can_be_read_and_decided(open_page, signed_in, address):
    page = open_page(storage_state=signed_in)
    settled(page, address("{held}"))
    button = page.locator("#decide form.approve button")
    # As at a zoom of 200 and of 400 percent.
    for width, height in ((720, 450), (320, 256)):
        page.set_viewport_size({"width": width, "height": height})
        assert too_wide(page) == []
        button.scroll_into_view_if_needed()
        expect(button).to_be_in_viewport(ratio=0.99)
        button.click(trial=True)
        page.locator(".sheet .tab").nth(1).click(trial=True)


def test_focus_is_seen_on_every_page_and_nothing_covers_it(
    open_page, signed_in, address
):
    page = open_page(storage_state=signed_in)
    found = {}
    # The form of a review plan is for those who may set it.
    page.watch.expected += ["404", "403"]
    for name, path in {**PAGES, "held": "{held}"}.items():
        page.set_viewport_size(
            {"width": 1440 if name == "held" else 1024, "height": 700}
        )
        settled(page, address(path))
        found[name] = list(lost_focus(page, presses=45))
    assert {name: some for name, some in found.items() if some} == {}


def test_current_item_is_seen_in_forced_colours_and_fields_follow_the_script(
    open_page, signed_in, address
):
    page = open_page(storage_state=signed_in, forced_colors="active")
    settled(page, address("{held}"))
    edges = "(one) => getComputedStyle(one).outlineStyle + getComputedStyle(one).outlineWidth"
    for kind in ("#list .item", "#sheet .tab", ".rail a"):
        marked = page.locator(f"{kind}[aria-current]").first.evaluate(edges)
        assert marked == "solid2px", kind
        other = page.locator(f"{kind}:not([aria-current])").first
        assert other.evaluate(edges) != marked, kind
    # Arabic and Hebrew begin at the right.
    fields = page.locator("textarea.input")
    assert fields.count() > 1
    for field in fields.all():
        found = field.evaluate("(one) => getComputedStyle(one).unicodeBidi")
        assert found == "plaintext"


def test_phone_has_the_decision_at_the_bottom_and_the_risk_above_the_message(
    open_page, signed_in, address
):
    page = open_page(storage_state=signed_in, has_touch=True)
    page.set_viewport_size({"width": 390, "height": 844})
    settled(page, address("{held}"))
    # Unopened parts are named next to the approval; opening them all moves nothing
    # else.
    page.locator("#unread").evaluate("(one) => { one.hidden = true; }")
    bar, approve, reject, addresses, letter, findings = (
        page.locator(selector).first.bounding_box()
        for selector in (
            "#decide",
            "#decide form.approve button",
            "#reject > summary",
            "#addresses",
            ".sheet",
            "#findings",
        )
    )
    assert bar["y"] + bar["height"] == pytest.approx(844, abs=1)
    assert bar["height"] <= 60
    more = page.locator("#decide .more > summary").bounding_box()
    for one in (approve, reject, more):
        assert one["height"] >= 44
        assert one["y"] == approve["y"]
    assert reject["x"] - approve["x"] - approve["width"] >= 11.9
    # The rest stands under "More".
    request = page.locator("#message #send-back > summary")
    expect(request).to_be_hidden()
    page.locator("#decide .more > summary").click()
    expect(request).to_be_in_viewport(ratio=1)
    page.locator("#decide .more > summary").click()
    assert max(addresses["y"], findings["y"]) < letter["y"]
    # The bar avoids the safe area of the system.
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setSafeAreaInsetsOverride", {"insets": {"bottom": 34}})
    low = page.locator("#decide").evaluate(
        "(bar) => innerHeight - Math.max(...[...bar.querySelectorAll('button, summary, a')]"
        ".filter((one) => one.checkVisibility({ contentVisibilityAuto: true }))"
        ".map((one) => one.getBoundingClientRect().bottom))"
    )
    assert low >= 34
