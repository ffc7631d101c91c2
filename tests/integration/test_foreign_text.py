"""Outside the parser, no pattern reads more of a stranger's text than its bound, however
long that is; and what is ASCII is read as ASCII.
"""

from alerts.models import Destination
from approvals.models import OwnWord
from tests.cards import embed_of
from tests.factories import make_message, show_row
from tests.recorded_patterns import BOUND, LONG, record_patterns

VIEWS = ("rendered", "text", "parts", "source", "headers", "changes")


def test_no_pattern_reads_a_long_text_of_a_message(connection, desk, monkeypatch):
    OwnWord.objects.create(
        text="https*", spelling="https*", looks_in=["text"], points=10
    )
    longest = record_patterns(monkeypatch)
    link = f'<a href="{LONG[:7_999]}\u2003">here</a> '
    fields = {
        "subject": LONG,
        "from_name": LONG,
        "reply_to": f"{LONG} <b@n.example>",
        "to_addresses": [f"{LONG} <dana@n.example>", f"dana@{LONG}.example", LONG],
        "attachments": [{"name": f"{LONG}.pdf", "content_type": LONG, "size": 1}],
        "additions": {"signature": LONG, "auto_cc": f"{LONG}@n.example"},
        "html_body": f"<p>{LONG}</p>{link * 31}",
        "metadata": {"discord_user": LONG, "run_id": LONG},
    }
    messages = []
    for number in range(3):
        message = make_message(connection, **fields, markdown=f"{LONG} {number}")
        messages.append(show_row(message, **fields, markdown=f"{LONG} was {number}"))
    page = f"/queue/{messages[0].public_id}/"
    for view in VIEWS:
        assert desk.get(f"{page}?view={view}").status_code == 200
    chosen = {"id": [str(one.public_id) for one in messages]}
    assert desk.post("/queue/bulk/", chosen).status_code == 200
    for path in ("/queue/", "/find/", "/audit/"):
        assert desk.get(path, {"q": f"to:{LONG}", "since": LONG}).status_code == 200
    embed_of(messages[0], Destination(name="x", kind="discord_webhook"))
    assert 0 < max(longest)[0] <= BOUND, max(longest)
