"""Remote pictures on request, in Chromium: an admin allows it, a reviewer asks, each
box says what became of it.
"""

import pytest
from playwright.sync_api import expect

from tests.picture_server import picture_server, png

pytestmark = pytest.mark.slow
CAPTION = "the recipient may see another picture"


@pytest.fixture
def server():
    """A server on this machine, which the product must not ask: its address is private."""
    with picture_server() as running:
        running.answers = {"/lamp.png": png(), "/desk.png": png()}
        yield running


@pytest.fixture
def with_pictures(product, ana, server):
    """A held message with two pictures that are there to be seen, and one whose address
    names the recipient.
    """
    pictures = "".join(
        f"![A picture]({server.url}/{name})\n\n" for name in ("lamp.png", "desk.png")
    )
    pixel = f"![]({server.url}/o.gif?to=dana%40northwind.example)"
    body = f"Hello Dana,\n\nthis is the lamp.\n\n{pictures}{pixel}"
    return product.hold(ana, body=body, **{"from": product.known["MAILBOX2_ADDRESS"]})


@pytest.fixture
def allowed(product, open_as):
    """An admin allows it for the mailbox, which is told what a server learns."""
    (box,) = product.sql(
        "SELECT id FROM mirror_mailbox WHERE upstream_id = %s",
        product.known["MAILBOX2_ID"],
    )
    page = open_as("ADMIN")
    page.goto(f"{product.known['DASHBOARD_URL']}/mailboxes/{box[0]}/")
    expect(
        page.get_by_text("learn this desk's IP address and the time")
    ).to_be_visible()
    page.get_by_label("Remote pictures on request").check()
    page.locator(
        "form", has=page.get_by_label("Remote pictures on request")
    ).get_by_role("button", name="Save").click()
    expect(page.get_by_label("Remote pictures on request")).to_be_checked()
    yield
    product.sql(
        "UPDATE mirror_mailbox SET loads_pictures = false WHERE id = %s", box[0]
    )


def show_one(product, row):
    """Let one of the pictures be there, as from a server that may be asked."""
    mine = "message_id = (SELECT id FROM mirror_message WHERE public_id = %s)"
    changes = "state = 'loaded', reason = '', content = %s, width = 40, height = 30, fetched_at = now()"
    product.sql(
        f"UPDATE mirror_remotepicture SET {changes} WHERE url LIKE '%%lamp.png' AND {mine}",
        png(),
        str(row["id"]),
    )


def test_pictures_load_on_request_and_each_box_says_what_became_of_it(
    desk, product, with_pictures, allowed, server
):
    desk.goto(product.page(with_pictures))
    face = desk.frame_locator("#message iframe.face")
    expect(
        face.get_by_text("tracking pixel: its address names the recipient")
    ).to_be_visible()
    expect(desk.locator("#strip")).to_contain_text("1 tracking pixel")
    desk.get_by_role("button", name="Load 2 remote pictures").press("Enter")
    # By itself: the line asks until the worker has been there, and then the sheet is
    # shown anew.
    expect(desk.locator("#pictures")).to_contain_text("0 of 2 remote pictures loaded")
    expect(face.get_by_text("not one of the open internet")).to_have_count(2)
    assert server.asked == []
    show_one(product, with_pictures)
    desk.reload()
    expect(face.get_by_role("img", name="A picture")).to_have_js_property(
        "naturalWidth", 40
    )
    expect(face.get_by_text(CAPTION)).to_be_visible()
    expect(desk.locator("#pictures")).to_contain_text("1 of 2 remote pictures loaded")
    for width in (390, 320):
        desk.set_viewport_size({"width": width, "height": 800})
        assert desk.evaluate("document.scrollingElement.scrollWidth") <= width
