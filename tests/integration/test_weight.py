"""Transfer sizes: pages compressed only where their size reveals nothing, and bundled
files.
"""

import gzip

from dashboard.frame import bundles
from tests.factories import make_message

GZIP = {"Accept-Encoding": "gzip"}


ASKED_BY = {
    "same-origin": "gzip",
    "none": "gzip",
    "cross-site": "",
    "same-site": "",
    "": "",
}


def test_pages_are_compressed_for_signed_in_people_only_and_a_message_body_never(
    signed_in, reviewer, connection
):
    client = signed_in(reviewer)
    answers = {
        by: client.get(
            "/people/me/sessions/",
            headers={**GZIP, **({"Sec-Fetch-Site": by} if by else {})},
        )
        for by in ASKED_BY
    }
    assert {
        by: answer.get("Content-Encoding", "") for by, answer in answers.items()
    } == ASKED_BY
    # Compressed sizes vary by chance.
    own = {**GZIP, "Sec-Fetch-Site": "same-origin"}
    pages = [
        answers["same-origin"],
        answers["none"],
        client.get("/people/me/sessions/", headers=own),
    ]
    assert len({len(page.content) for page in pages}) > 1
    assert all(b"</html>" in gzip.decompress(page.content) for page in pages)
    message = make_message(connection, markdown="word " * 2000)
    assert "Content-Encoding" not in client.get(
        f"/queue/{message.public_id}/body/", headers=own
    )


def test_bundling_leaves_out_remarks_and_indentation_and_nothing_else():
    head = "/* What\n   it does. */\n// Why.\n"
    script = head + 'const url = "https://x.example"; // Where.\nf(`a\n    b`);\n'
    assert (
        bundles.plain(script, "desk.js")
        == '{const url="https://x.example";f(`a\n    b`);}'
    )
    assert bundles.plain(
        "/* Red. */\na { color: red; }\n\nb > c,\nd { margin: 0 1px }\n", "desk.css"
    ) == ("a{color:red;}b > c,d{margin:0 1px}")
