"""HTML is simplified once, when it is handed in; fingerprint, pending list and mail
have that form.
"""

from common.additions import html_part
from gateway.models import Mailbox
from tests.integration.gateway.world import add_key, bad_field_of, leave

HIDING = (
    '<p>We pay <b style="display:none">not</b> 5 EUR</p><p style="color:#333">Ana</p>'
)
SIMPLE = '<p>We pay <b>not</b> 5 EUR</p><p style="color:#333333;background-color:#ffffff;">Ana</p>'
SENTENCE = "The original could hide “not” (display: none)."


def test_html_is_held_and_sent_in_its_simple_form(world, mail_server):
    answer = world.send(html=HIDING, markdown=None).json()
    assert answer["warnings"] == [SENTENCE]
    (row,) = world.pending()["pending"]
    assert row["html_body"] == SIMPLE
    assert row["simplified"] == 1
    assert row["markdown"] == "We pay not 5 EUR\n\nAna"
    # A client trusts what it does not know: neither the original nor its words stand
    # under another name.
    assert "display" not in str(row)
    original = f"/v1/oversight/pending/{row['id']}/original"
    assert world.get(original, key="desk") == {"html": HIDING, "changes": [SENTENCE]}
    assert world.call("GET", original, key="agent").status_code == 403
    assert (
        world.decide(row["id"], expected_fingerprint=row["fingerprint"]).status_code
        == 200
    )
    assert leave(row["id"])
    message = mail_server.message()
    sent = message.get_body(("html",)).get_content()
    assert sent.splitlines() == html_part(SIMPLE, row["additions"]).splitlines()


def test_text_of_the_agent_and_markdown_are_not_changed(world):
    text = "We pay  *not*\n5 EUR <b hidden>x</b>"
    world.held(html=HIDING, markdown=text)
    world.held(markdown=text)
    rows = world.pending()["pending"]
    assert [(row["markdown"], row["simplified"]) for row in rows] == [
        (text, 1),
        (text, 0),
    ]
    assert rows[1]["html_body"] is None


def test_html_that_is_simple_brings_no_warnings_and_a_repetition_is_recognized(world):
    first = world.send(html=SIMPLE, markdown=None, subject="Same")
    assert "warnings" not in first.json()
    assert world.send(html=SIMPLE, markdown=None, subject="Same").status_code == 409


def test_html_that_is_too_complex_is_refused_with_a_sentence(world):
    answer = world.send(html="<b>" * 30_000, markdown=None)
    assert bad_field_of(answer) == (422, "html")
    assert "it has more than 20000 tags" in answer.json()["error"]
    assert world.pending()["count"] == 0


def test_mailbox_can_send_html_as_it_is_written(world):
    add_key(world, "both", ["send", "admin"])
    # A key that writes messages would loosen its own oversight.
    asked = world.patch(world.base, key="both", simplify_html=False)
    assert asked.status_code == 202
    assert world.patch(world.base, simplify_html=False).status_code == 200
    assert Mailbox.objects.get(pk=world.mailbox.pk).simplify_html is False
    answer = world.send(html=HIDING, markdown=None).json()
    (row,) = world.pending()["pending"]
    assert row["html_body"] == HIDING
    assert row["simplified"] == 0
    assert "warnings" not in answer
