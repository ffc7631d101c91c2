"""Outside the parser, no pattern reads more of a stranger's text than its bound, however
long that is; and what is ASCII is read as ASCII.
"""

import pytest

from alerts.models import Destination
from common.fingerprint import Content
from common.mail_addresses import clean_address
from gateway.auth import key_text
from mirror.attachments.file_types import claimed_by_type, ending_of
from policy.models import PolicyVersion
from risk.addresses import first_contact
from risk.findings import RiskContext
from tests.cards import embed_of
from tests.factories import make_message, show_row
from tests.recorded_patterns import BOUND, LONG, record_patterns

KELVIN = "\u212a"
DOTS = f"dana@{'a.' * 15_000}example"
VIEWS = ("rendered", "text", "parts", "source", "headers", "changes")


@pytest.mark.slow
def test_no_pattern_reads_a_long_text_of_a_message(connection, desk, monkeypatch):
    rule = {"id": "a", "name": "A", "when": {"words": ["https*"]}}
    PolicyVersion.objects.create(number=1, rules=[rule])
    longest = record_patterns(monkeypatch)
    link = f'<a href="{LONG[:7_999]}\u2003">here</a> '
    fields = {
        "subject": LONG,
        "from_name": LONG,
        "reply_to": f"{LONG} <b@n.example>",
        "to_addresses": [
            f"{LONG} <dana@n.example>",
            f"dana@{LONG}.example",
            DOTS,
            LONG,
        ],
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


def test_what_is_ascii_by_its_specification_is_read_as_ascii():
    types = (
        "text/markdown",
        " Text/Markdown ; x",
        f"text/mar{KELVIN}down",
        "text/xml\xa0",
    )
    assert [bool(claimed_by_type(one)) for one in types] == [True, True, False, False]
    assert [ending_of(f"a.{one}") for one in ("MKV", f"m{KELVIN}v")] == [
        "mkv",
        f"m{KELVIN}v",
    ]
    known = RiskContext(known_addresses={"kate@x.example": 1})
    for name, is_new in (("Kate", False), (f"{KELVIN}ate", True)):
        to = Content(to=(f"{name}@X.example",))
        assert bool(list(first_contact(to, None, known))) is is_new
    with pytest.raises(ValueError, match="not an email address"):
        clean_address("dana@x.example\xa0")
    headers = {"HTTP_AUTHORIZATION": " Bearer \t mm_key\xa0 "}
    assert key_text(headers) == "mm_key\xa0"
