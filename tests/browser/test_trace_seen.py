"""The audit trail of a message that was started on Discord, in Chromium; and its self-verifying page."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.looking import too_wide, violations

STARTED = {
    "discord_user": "dana",
    "discord_user_id": "8123",
    "discord_channel": "sales",
    "discord_guild": "Northwind",
    "discord_interaction_id": "99001",
}
HOSTILE = "Invoice </script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def decided(product, ana):
    """A message that was approved and sent, and whose entries are sealed."""
    row = product.hold(ana, f"{HOSTILE} 4711", metadata=STARTED)
    page = ana.get(f"/queue/{row['id']}/")
    fields = {"outcome": "approve", "fingerprint": row["fingerprint"], "reason": "Sums agree"}
    assert ana.post(f"/queue/{row['id']}/verdict/", page, **fields).status_code < 400
    path = f"/audit/trace/{row['id']}/"

    def has_left():
        text = ana.get(path).text
        return "sent the message" in text and re.search(r"([1-9]\d*) of \1 entries are sealed", text)

    product.wait_for(has_left, timeout=90, what="the message sent and its entries sealed")
    return path


@pytest.fixture
def opened(open_page, tmp_path):
    """Opens a file from the disk, without any network."""

    def opened(text):
        file = tmp_path / "proof.html"
        file.write_text(text, encoding="utf-8")
        page = open_page(offline=True)
        page.on("dialog", lambda dialog: pytest.fail("a script of the data ran"))
        # The file's own policy blocks edited content, and the browser reports that.
        page.watch.expected = ["Content Security Policy"]
        page.goto(file.as_uri())
        return page

    return opened


def test_trace_is_read_its_past_decision_opened_and_its_proof_checks_itself_offline(
    desk, product, decided, opened, tmp_path
):
    desk.goto(product.known["DASHBOARD_URL"] + decided)
    answers = desk.locator(".answers")
    for expected in ("dana", "#sales", "Northwind", "99001", "Ana", "Sums agree", "It was sent", "sealed"):
        expect(answers).to_contain_text(expected)
    assert (too_wide(desk), violations(desk)) == ([], [])
    with desk.expect_download() as download:
        desk.get_by_role("button", name="Self-verifying page (HTML)").click()
    file = Path(tmp_path / "taken.html")
    download.value.save_as(file)
    desk.get_by_role("link", name="as it was seen").first.click()
    expect(desk.get_by_role("heading", level=1)).to_contain_text("As it was seen on")
    expect(desk.frame_locator("iframe").get_by_text("your refund for order 4471")).to_be_visible()
    assert (too_wide(desk), violations(desk)) == ([], [])
    _check_offline(file.read_text(encoding="utf-8"), opened)


def _check_offline(text, opened):
    page = opened(text)
    expect(page.locator("#outcome")).to_contain_text("Verified.")
    expect(page.locator("#told")).to_contain_text(HOSTILE)
    expect(page.locator(".key")).to_have_text(re.compile(r"^\w{4}-\w{4}-\w{4}$"))
    assert (too_wide(page), violations(page)) == ([], [])
    detail = re.search(r'"salt":"[0-9a-f]{32}","fields":\{[^}]*\}', text)[0]
    edits = {
        '"actor":"Ana': ('"actor":"Anb', "“actor” is not what it was"),
        '"reason":"Sums agree': ('"reason":"Sums agreed', "“reason” is not what it was"),
        '"signature":"': ('"signature":"00', "is not signed by its key"),
        '\\"verdict.given\\"': ('\\"verdict.taken\\"', "The entries are not those"),
        '"question":"Who started it?"': ('"question":"Who ended it?"', "The sentences in this file were edited"),
        '"made_at":"20': ('"made_at":"19', "The sentences in this file were edited"),
        "<style>": ("<style>/* */", "How this file looks was edited"),
        detail: ('"salt":null,"fields":null', "were taken out"),
    }
    for before, (after, says) in edits.items():
        assert before in text
        page = opened(text.replace(before, after))
        expect(page.locator("#outcome")).to_contain_text("Verification failed")
        expect(page.locator("#outcome")).to_contain_text(says)
        assert "Who started it?" not in page.locator("#told").inner_text()
    page = opened(text.replace("<body>", '<body><p id="more">The board agreed to it.</p>', 1))
    expect(page.locator("#outcome")).to_contain_text("Verified.")
    assert page.locator("#more").count() == 0
    page = opened(text.replace("Verification failed.", "Verified, yes", 1))
    expect(page.locator("#outcome")).to_contain_text("Nothing in this file was checked.")


@pytest.mark.slow
def test_browser_without_ed25519_says_that_the_signature_was_not_checked(chromium, product, ana, decided, tmp_path):
    file = tmp_path / "proof.html"
    answer = ana.post(f"{decided}proof.html", ana.get(decided))
    file.write_text(answer.text, encoding="utf-8")
    context = chromium.new_context(offline=True)
    context.add_init_script(
        "crypto.subtle.importKey = async () => { throw new DOMException('no', 'NotSupportedError') }"
    )
    page = context.new_page()
    page.goto(file.as_uri())
    expect(page.locator("#outcome")).to_contain_text("signature was NOT checked")
    expect(page.locator("#outcome")).not_to_contain_text("Verified")
    context.close()
