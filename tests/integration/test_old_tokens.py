"""A form that was opened before its person signed in again is offered again with what
was typed, and sent by nothing but a press.
"""

import re
from html import unescape

import pytest
from django.urls import reverse

from approvals.models import Decision
from tests.factories import make_message

HOST = "http://testserver"
WORDS = "The sum is <wrong>"


@pytest.fixture
def form(connection, signed_in, reviewer):
    """A verdict that is posted with an old token, from a page of the desk or another;
    returns the answer.
    """
    message = make_message(connection)
    client = signed_in(reviewer, minutes=30)
    client.handler.enforce_csrf_checks = True

    def post(**headers):
        fields = {
            "outcome": "reject",
            "reason": WORDS,
            "fingerprint": message.revision.fingerprint,
            "csrfmiddlewaretoken": "x" * 64,
        }
        return client.post(
            f"/queue/{message.public_id}/verdict/", fields, headers=headers
        )

    post.client = client
    return post


def test_form_with_an_old_token_is_offered_again_and_sent_by_one_press(form):
    assert form(Origin=HOST)["Location"] == reverse("account_resubmit")
    by_htmx = form(**{"Origin": HOST, "HX-Request": "true", "Sec-Fetch-Mode": "cors"})
    assert by_htmx["HX-Redirect"] == reverse("account_resubmit")
    page = form.client.get(reverse("account_resubmit"))
    assert "resubmit.js" not in page.text, "nothing sends it by itself"
    assert WORDS in unescape(page.text)
    assert "/verdict/" in page.text
    assert not Decision.objects.exists()
    hidden = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.text))
    action = unescape(re.search(r'method="post" action="([^"]*)"', page.text)[1])
    # With an old token the press is asked for again, and nothing is lost.
    again = form.client.post(
        action, {**hidden, "csrfmiddlewaretoken": "x"}, headers={"Origin": HOST}
    )
    assert again["Location"] == reverse("account_resubmit")
    assert form.client.post(action, hidden).status_code == 302
    assert Decision.objects.get().reason == WORDS


def test_what_another_site_a_script_or_somebody_signed_out_posts_is_offered_to_nobody(
    form,
):
    for headers in (
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null", "Referer": f"{HOST}/queue/"},
        {"Origin": f"{HOST}.evil.example"},
        {"Referer": f"{HOST}/queue/"},
        {"Origin": HOST, "Sec-Fetch-Mode": "cors"},
    ):
        answer = form(**headers)
        assert answer.status_code == 403, headers
        assert "This form has expired" in answer.text
        assert "saved_request" not in form.client.session
    form.client.logout()
    assert form(Origin=HOST).status_code == 403
