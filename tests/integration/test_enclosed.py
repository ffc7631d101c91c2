"""Attachments: fetched in the background, recognised by their bytes, shown safely or
refused, never as a page.
"""

import hashlib
from dataclasses import asdict
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.db.models import F
from django.db.models.functions import Now

from approvals.decisions.execute import run_decision
from approvals.errors import VerdictNotAllowed
from approvals.models import OpenedPart, Verdict
from approvals.tasks import sweep
from audit.models import Entry
from mirror.attachments import fetch
from mirror.attachments.file_types import Detection
from mirror.attachments.parsed import NOT_SAFE, detect_file
from mirror.attachments.preview import document_of, refusal_of
from mirror.models import AttachedFile, Connection, Message
from mirror.sync import retention
from mirror.sync.health import pause_after
from mirror.tasks import fetch_file
from tests.factories import change_row, make_message, rolled_back, show_row
from tests.integration.deciding import decide, make_due
from tests.ledger import latest_details
from tests.markup import HTMX

PIXEL = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
    b"\x00\x00\x00\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\x89\x99=\x1d\x00\x00\x00\x00IEND\xaeB`\x82"
)
SCRIPT = b"<script>alert(1)</script>"


def attachment(name, content, content_type="text/plain"):
    return {
        "name": name, "content_type": content_type, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()
    }  # fmt: skip


def path_of(message, name):
    return f"/v1/oversight/pending/{message.upstream_id}/attachments/{quote(name, safe='')}"


@pytest.fixture
def gateway(connection, upstream):
    change_row(connection, api_url=upstream.url)
    connection.refresh_from_db()
    upstream.answers["/v1/account"] = (200, {"scopes": ["oversight"]})
    return connection


@pytest.fixture
def enclose(gateway, upstream):
    """Return a function that makes a held message with these files (name, content,
    type), fetched by default.
    """

    def make(*files, fetched=True):
        message = make_message(
            gateway, attachments=[attachment(*file) for file in files]
        )
        for name, content, *_ in files:
            upstream.answers[path_of(message, name)] = (200, content)
        if fetched:
            fetch_all(message)
        message.refresh_from_db()
        return message

    return make


def fetch_all(message):
    return [
        fetch_file(pk)
        for pk in message.files.order_by("pk").values_list("pk", flat=True)
    ]


def view(client, message, number=1, rest="", **headers):
    return client.get(
        f"/queue/{message.public_id}/files/{number}/{rest}", headers=headers
    )


def panel(client, message):
    return client.get(f"/queue/{message.public_id}/files/", headers=HTMX).text.replace(
        "<wbr>", ""
    )


def unread(client, message):
    return client.get(f"/queue/{message.public_id}/unread/").text


def of_bytes(content, *, name="file", content_type=""):
    """A file that was fetched, in memory only."""
    seen = detect_file(content, name=name, content_type=content_type)
    return AttachedFile(
        name=name,
        content=content,
        found_size=len(content),
        kind=seen.kind,
        seen=asdict(seen),
        state="fetched",
    )


def test_file_is_fetched_once_shown_with_claimed_type_kind_and_hash_and_its_opening_recorded(
    desk, upstream, enclose, reviewer
):
    message = enclose(("pixel.png", PIXEL, "image/gif"), ("b.txt", b"b"))
    file = message.files.get(name="pixel.png")
    digest = hashlib.sha256(PIXEL).hexdigest()
    assert file.state == "fetched"
    assert bytes(file.content) == PIXEL
    assert file.kind == "png"
    assert file.found_sha256 == digest
    assert file.found_size == len(PIXEL)
    assert file.seen["width"] == 1
    assert file.seen["height"] == 1
    assert file.differs is False
    assert upstream.keys[-1] == "mm_live_oversight"
    calls = len(upstream.calls)
    assert set(fetch_all(message)) == {"not due"}
    assert len(upstream.calls) == calls

    # A prefetch does not count as opening.
    view(desk, message, **{"Sec-Purpose": "prefetch"})
    desk.head(f"/queue/{message.public_id}/files/1/")
    assert ">2 parts unread</span>" in unread(desk, message)
    for rest in ("", "", "download/"):
        view(desk, message, rest=rest)
    entries = (
        Entry.objects.of_message(message.public_id)
        .filter(action="attachment.served")
        .select_related("detail")
    )
    seen, copied = entries.oldest_first()
    assert seen.actor_id == str(reviewer.pk)
    assert seen.detail.fields["how"] == "looked at"
    assert copied.detail.fields["how"] == "downloaded"
    assert seen.detail.fields["sha256"] == digest
    assert ">1 part unread</span>" in unread(desk, message)
    page = panel(desk, message)
    for words in (
        digest,
        "<bdi>image/gif",
        "PNG picture, 1 × 1 pixels",
        "as in the fingerprint",
        ">Opened<",
    ):
        assert words in page, words

    assert decide(message, reviewer).verdict.parts_unread == 1
    assert latest_details("verdict.given")["parts_unread"] == "b.txt"


ANSWERS = [
    ("gone", (404, {"error": "none"}), "gone", "no longer has it (404)"),
    (
        "scope",
        (403, {"error": "This key lacks the scope."}),
        "not_visible",
        "Not visible with this key",
    ),
    ("redirect", (302, b""), "failing", "It could not be fetched yet"),
    ("broken", (500, {"error": "broken"}), "failing", "It could not be fetched yet"),
    ("well", (200, b"well"), "fetched", "as in the fingerprint"),
    (
        "throttled",
        (429, {"error": "slow down"}),
        "failing",
        "It could not be fetched yet",
    ),
]


def test_missing_file_says_why_can_be_retried_and_does_not_block_others(
    desk, gateway, upstream, enclose
):
    message = enclose(*((name, name.encode()) for name, *_ in ANSWERS), fetched=False)
    for name, answer, *_ in ANSWERS:
        upstream.answers[path_of(message, name)] = answer
    upstream.headers["Retry-After"] = "40"
    assert fetch_all(message) == [state for _, _, state, _ in ANSWERS]
    # The whole connection waits after 429.
    gateway.refresh_from_db()
    assert gateway.wait_until is not None
    sections = panel(desk, message).split('id="file-')[1:]
    assert [
        name
        for (name, _, _, words), part in zip(ANSWERS, sections, strict=True)
        if words not in part
    ] == []

    assert set(fetch_all(message)) == {"not due"}
    pauses = [
        pause_after(tries, first=5, factor=4).total_seconds() for tries in (1, 2, 3, 20)
    ]
    assert pauses == [5, 20, 80, 3600]
    AttachedFile.objects.update(not_before=Now())
    Connection.objects.update(wait_until=None)
    for name, *_ in ANSWERS:
        upstream.answers[path_of(message, name)] = (200, name.encode())
    assert fetch_all(message) == [
        "not due" if name == "well" else "fetched" for name, *_ in ANSWERS
    ]


def test_files_of_hosted_accounts_are_fetched_only_with_a_read_key(
    desk, gateway, upstream, enclose
):
    gateway.is_our_gateway = False
    gateway.save()
    name = "a b/ü%.txt"
    message = enclose((name, b"a"))
    assert message.files.get().state == "not_visible"
    assert upstream.paths == []
    assert "Not visible with this key" in panel(desk, message)
    gateway.read_key = "mm_live_read"
    gateway.save()
    AttachedFile.objects.update(not_before=Now())
    path = f"/v1/mailboxes/01MAILBOX/emails/{message.upstream_id}/attachments/{quote(name, safe='')}"
    upstream.answers[path] = (200, b"a")
    assert fetch_all(message) == ["fetched"]
    assert upstream.keys[-1] == "mm_live_read"


@pytest.mark.slow
def test_next_version_with_the_same_bytes_reuses_them_and_they_stay_opened(
    desk, upstream, enclose
):
    message = enclose(("a.txt", b"same"))
    view(desk, message)
    calls = len(upstream.calls)
    show_row(
        message, subject="Another subject", attachments=[attachment("b.txt", b"same")]
    )
    newest = message.files.order_by("-pk").first()
    assert fetch_file(newest.pk) == "fetched"
    newest.refresh_from_db()
    assert bytes(newest.content) == b"same"
    assert len(upstream.calls) == calls
    assert "hidden" in unread(desk, message)
    show_row(message, subject="Third", attachments=[attachment("b.txt", b"other")])
    upstream.answers[path_of(message, "b.txt")] = (200, b"other")
    fetch_all(message)
    assert ">1 part unread</span>" in unread(desk, message)


@pytest.mark.slow
def test_sweep_fetches_missing_files_unless_the_message_was_decided_and_sent(
    enclose, sent_tasks
):
    message = enclose(("a.txt", b"a"), fetched=False)
    sweep()
    assert ("mirror.tasks.fetch_file", message.files.get().pk) in sent_tasks
    for state in ("rejected", "sent"):
        Message.objects.update(state=state)
        assert fetch_all(message) == ["not due"], state


def test_bytes_that_differ_from_the_fingerprint_are_shown_and_cannot_be_approved(
    desk, upstream, enclose, reviewer
):
    message = enclose(("a.txt", b"as said"), fetched=False)
    upstream.answers[path_of(message, "a.txt")] = (200, b"other!!")
    with rolled_back():
        # Approved before the bytes arrived: refused when it is carried out.
        result = decide(message, reviewer)
        fetch_all(message)
        make_due()
        assert run_decision(decision_id=result.decision.pk) == "refused"
        assert upstream.decisions == []
    fetch_all(message)
    page = panel(desk, message)
    assert "This is not the file that would be sent." in page
    assert [
        hashlib.sha256(one).hexdigest() in page for one in (b"other!!", b"as said")
    ] == [True, True]
    assert (
        Entry.objects.of_message(message.public_id)
        .filter(action="message.file_differs")
        .count()
        == 1
    )
    with pytest.raises(
        VerdictNotAllowed, match=r"does not match the fingerprint \(a\.txt\)"
    ):
        decide(message, reviewer)
    assert Verdict.objects.count() == 0
    assert (
        decide(message, reviewer, "reject", "Not what it says").decision.outcome
        == "reject"
    )


def test_oversized_files_are_not_stored_and_other_oddities_are_named(
    desk, upstream, enclose, reviewer, monkeypatch
):
    monkeypatch.setattr(fetch, "MAX_BYTES", 1000)
    sizes = {"announced": 2000, "hidden": 2000, "at-limit": 1000, "size": 3, "odd": 1}
    message = enclose(
        *((name, bytes(size)) for name, size in sizes.items()), fetched=False
    )
    files = {one.name: one for one in message.files.all()}
    AttachedFile.objects.filter(name="hidden").update(size=10)
    # Without a hash only the size can differ, and that does not block a decision.
    AttachedFile.objects.filter(name="size").update(sha256="", size=99)
    ends = [
        fetch_file(files[name].pk)
        for name in ("announced", "hidden", "at-limit", "size")
    ]
    assert ends == ["too_large", "too_large", "fetched", "fetched"]
    assert set(AttachedFile.objects.filter(content=None).values_list("name", flat=True)) == {
        "announced", "hidden", "odd",
    }  # fmt: skip
    assert path_of(message, "announced") not in upstream.paths
    with monkeypatch.context() as patched:
        patched.setattr(
            fetch,
            "detect_file",
            lambda *_, **__: Detection(kind="unknown", flags=(NOT_SAFE,)),
        )
        assert fetch_file(files["odd"].pk) == "fetched"

    page = panel(desk, message)
    assert page.count("larger than this desk fetches") == 2
    for words in ("It could not be read safely", "3 bytes instead of 99"):
        assert words in page, words
    assert decide(message, reviewer).decision.outcome == "approve"


def check_frame(answer):
    policy = answer["Content-Security-Policy"]
    assert {"sandbox", "default-src 'none'", "img-src data:"} <= {
        part.strip() for part in policy.split(";")
    }
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "no-store"


def test_file_is_downloaded_as_a_file_and_never_as_a_page(desk, enclose):
    files = [
        ("page.html", b"<html>" + SCRIPT, "text/html"),
        (
            "drawing.svg",
            b"<svg xmlns='http://www.w3.org/2000/svg'>" + SCRIPT + b"</svg>",
            "image/svg+xml",
        ),
        ("invoice_\u202efdp\u200b.exe", b"MZ", "application/pdf"),
    ]
    message = enclose(*files)
    for number, (name, content, _) in enumerate(files, start=1):
        answer = view(desk, message, number, "download/")
        plain = name.replace("\u202e", "").replace("\u200b", "")
        assert answer.status_code == 200, plain
        assert answer.content == content, plain
        assert answer["Content-Type"] == "application/octet-stream"
        assert answer["Content-Disposition"] == f'attachment; filename="{plain}"'
        check_frame(answer)
    # What a name hides is not shown; that it is flagged:
    # tests/unit/test_attachment_detection.py.
    assert not {"\u202e", "\u200b"} & set(panel(desk, message))


def test_text_is_shown_as_escaped_text_with_invisible_characters_named(desk, enclose):
    message = enclose(
        ("notes.txt", b"One line\nand \xe2\x80\xae another " + SCRIPT),
        ('a"><b>.png', PIXEL),
    )
    answer = view(desk, message)
    check_frame(answer)
    pages = [answer.text]
    for content in (
        b"<svg xmlns='x'>" + SCRIPT + b"</svg>",
        b"<html><img src=https://evil.example/x>" + SCRIPT,
    ):
        pages.append(document_of(of_bytes(content)).html)
    assert ["RIGHT-TO-LEFT OVERRIDE" in page for page in pages] == [True, False, False]
    for page in pages:
        assert "<script>" not in page
        assert "<img" not in page
        assert "\u202e" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    # A picture is embedded in a document that may load nothing.
    answer = view(desk, message, 2)
    check_frame(answer)
    assert (
        b'<img alt="a&quot;&gt;&lt;b&gt;.png" src="data:image/png;base64,'
        in answer.content
    )


def test_picture_that_claims_to_be_huge_and_files_of_other_kinds_are_not_shown():
    def sized(width, height):
        return (
            PIXEL[:16]
            + width.to_bytes(4, "big")
            + height.to_bytes(4, "big")
            + PIXEL[24:]
        )

    refused = [
        (sized(20_000, 10), "which would fill the memory"),
        (sized(0, 7), "Its size is not known"),
        (b"%!PS", "A PostScript cannot be shown safely here."),
        (b"PK\x03\x04", "cannot be shown safely here."),
        (b"MZ", "cannot be shown safely here."),
        (b"\x00\x01\x02", "Its file type could not be recognised"),
        (b"", "It is empty."),
    ]
    for content, words in refused:
        file = of_bytes(content)
        assert words in refusal_of(file), content
        assert refusal_of(file) in document_of(file).html, content
        assert "<img" not in document_of(file).html, content


@pytest.mark.slow
def test_links_count_as_read_once_they_were_on_screen(desk, connection, reviewer):
    message = make_message(connection, markdown="See https://example.com/ for more.")
    address = f"/queue/{message.public_id}/"
    assert "<bdi>the links</bdi>" in unread(desk, message)
    assert desk.post(f"{address}part/", {"part": "links"}).status_code == 204
    desk.post(f"{address}part/", {"part": "file:1"})
    assert "hidden" in unread(desk, message)
    assert OpenedPart.objects.count() == 1
    assert decide(message, reviewer).verdict.parts_unread == 0


def test_bytes_are_deleted_a_month_after_the_message_ended_and_not_while_it_waits(
    desk, enclose
):
    message = enclose(("a.txt", b"secret words"))
    AttachedFile.objects.update(fetched_at=Now() - timedelta(days=400))
    Message.objects.update(changed_at=Now() - timedelta(days=400))
    assert retention.forget()["files"] == 0
    Message.objects.update(state="sent", changed_at=Now() - timedelta(days=29))
    assert retention.forget()["files"] == 0
    Message.objects.update(changed_at=F("changed_at") - timedelta(days=2))
    assert retention.forget()["files"] == 1
    file = message.files.get()
    assert file.content is None
    assert file.state == "deleted"
    assert bool(file.found_sha256)
    page = panel(desk, message)
    assert "The desk deleted its copy" in page
    assert "<iframe" not in page
    assert "The desk deleted its copy" in view(desk, message).text
    assert [
        view(desk, message, *rest).status_code for rest in ((1, "download/"), (2,))
    ] == [404, 404]
