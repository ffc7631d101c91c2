"""Attached files: fetched in the background, recognised by their bytes, shown harmlessly or refused, never a page."""

import hashlib
import re
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.db.models import F
from django.db.models.functions import Now

from approvals.enclosed import fetch
from approvals.errors import VerdictNotAllowed
from approvals.execute import run_decision
from approvals.models import Connection, EnclosedFile, Message, OpenedPart, Verdict
from approvals.sync import retain
from approvals.tasks import fetch_file, sweep
from audit.models import Entry
from tests.factories import NOW, make_connection, make_message, make_person, show_row
from tests.integration.deciding import decide, make_due

pytestmark = pytest.mark.django_db

PIXEL = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
    b"\x00\x00\x00\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\x89\x99=\x1d\x00\x00\x00\x00IEND\xaeB`\x82"
)
TEXT = b"One line\nand \xe2\x80\xae another <script>alert(1)</script>"
HTMX = {"HX-Request": "true"}


def attachment(name="notes.txt", content=TEXT, content_type="text/plain", **fields):
    digest = hashlib.sha256(content).hexdigest()
    return {"name": name, "content_type": content_type, "size": len(content), "sha256": digest, **fields}


def path_of(message, name):
    return f"/v1/oversight/pending/{message.upstream_id}/attachments/{quote(name, safe='')}"


@pytest.fixture
def gateway(connection, upstream):
    Connection.objects.filter(pk=connection.pk).update(api_url=upstream.url)
    connection.refresh_from_db()
    upstream.answers["/v1/account"] = (200, {"scopes": ["oversight"]})
    return connection


@pytest.fixture
def desk(signed_in, reviewer):
    return signed_in(reviewer)


def enclose(gateway, upstream, *files, fetched=True, answer=None):
    """A held message with these files (name, content, type), fetched from the stand-in."""
    rows = [attachment(*file) for file in files]
    message = make_message(gateway, attachments=rows)
    for name, content, *_ in files:
        upstream.answers[path_of(message, name)] = answer or (200, content)
    if fetched:
        fetch_all(message)
    message.refresh_from_db()
    return message


def fetch_all(message):
    return [fetch_file(pk) for pk in message.files.values_list("pk", flat=True)]


def only(message):
    return EnclosedFile.objects.get(message=message)


def view(client, message, place=1, rest="", **headers):
    return client.get(f"/queue/{message.public_id}/files/{place}/{rest}", headers=headers)


def panel(client, message):
    return client.get(f"/queue/{message.public_id}/files/", headers=HTMX).content.decode().replace("<wbr>", "")


# fetching


def test_file_is_fetched_with_the_right_to_decide_and_kept_with_what_it_is(gateway, upstream):
    message = enclose(gateway, upstream, ("pixel.png", PIXEL, "image/png"))
    file = only(message)
    assert (file.state, bytes(file.content), file.kind) == ("fetched", PIXEL, "png")
    assert file.found_sha256 == hashlib.sha256(PIXEL).hexdigest()
    assert (file.found_size, file.seen["width"], file.seen["height"], file.differs) == (len(PIXEL), 1, 1, False)
    assert upstream.keys[-1] == "mm_live_oversight"


def test_page_shows_claim_kind_and_whole_hash(desk, gateway, upstream):
    message = enclose(gateway, upstream, ("pixel.png", PIXEL, "image/gif"))
    page = panel(desk, message)
    assert hashlib.sha256(PIXEL).hexdigest() in page
    assert re.search(r"<dt>Says</dt><dd[^>]*>(<bdi>)?image/gif", page)
    assert "PNG picture, 1 × 1 pixels" in page
    assert "as in the fingerprint" in page


def test_file_that_was_fetched_is_not_fetched_again(gateway, upstream):
    message = enclose(gateway, upstream, ("notes.txt", TEXT, "text/plain"))
    calls = len(upstream.calls)
    assert fetch_all(message) == ["not due"]
    assert len(upstream.calls) == calls


@pytest.mark.parametrize(
    ("answer", "state", "told"),
    [
        ((404, {"error": "none"}), "gone", "does not have it any more (404)"),
        ((403, {"error": "This key lacks the scope."}), "not_visible", "Not visible with this key"),
        ((401, {"error": "unknown"}), "not_visible", "Not visible with this key"),
        ((500, {"error": "broken"}), "failing", "It could not be fetched yet"),
        ((429, {"error": "slow down"}), "failing", "It could not be fetched yet"),
        ((302, b""), "failing", "It could not be fetched yet"),
    ],
    ids=["gone", "scope", "key", "broken", "throttled", "redirect"],
)
def test_file_that_does_not_come_says_why_and_is_asked_for_again(desk, gateway, upstream, answer, state, told):
    message = enclose(gateway, upstream, ("a.txt", b"a", "text/plain"), answer=answer)
    assert only(message).state == state
    assert told in panel(desk, message)
    assert fetch_all(message) == ["not due"]
    EnclosedFile.objects.update(not_before=Now())
    Connection.objects.update(wait_until=None)
    upstream.answers[path_of(message, "a.txt")] = (200, b"a")
    assert fetch_all(message) == ["fetched"]


def test_pauses_between_tries_grow_to_an_hour():
    assert [fetch.pause_after(tries).total_seconds() for tries in (1, 2, 3, 20)] == [5, 20, 80, 3600]


def test_throttled_download_lets_the_whole_connection_wait(gateway, upstream):
    upstream.headers["Retry-After"] = "40"
    enclose(gateway, upstream, ("a.txt", b"a", "text/plain"), answer=(429, {"error": "slow down"}))
    gateway.refresh_from_db()
    assert gateway.wait_until is not None


def test_one_file_that_fails_holds_up_no_other(gateway, upstream):
    message = enclose(gateway, upstream, ("a.txt", b"a", "text/plain"), ("b.txt", b"b", "text/plain"), fetched=False)
    upstream.answers[path_of(message, "a.txt")] = (500, {"error": "broken"})
    assert fetch_all(message) == ["failing", "fetched"]
    assert message.hydrated_at


@pytest.mark.parametrize("is_announced", [True, False])
def test_file_beyond_the_limit_is_not_taken_in(desk, gateway, upstream, monkeypatch, is_announced):
    monkeypatch.setattr(fetch, "MAX_BYTES", 1000)
    message = enclose(gateway, upstream, ("a.bin", bytes(2000), ""), fetched=False)
    if not is_announced:
        EnclosedFile.objects.update(size=10)
    assert fetch_all(message) == ["too_large"]
    assert only(message).content is None
    assert is_announced == (path_of(message, "a.bin") not in upstream.paths)
    assert "larger than this desk fetches" in panel(desk, message)


def test_hosted_account_without_a_read_key_says_so_and_asks_nobody(desk, gateway, upstream):
    Connection.objects.update(is_our_gateway=False, read_key="")
    message = enclose(gateway, upstream, ("a.txt", b"a", "text/plain"))
    assert only(message).state == "not_visible"
    assert upstream.paths == []
    assert "Not visible with this key" in panel(desk, message)


def test_hosted_account_is_asked_with_the_read_key_for_a_name_of_any_kind(gateway, upstream):
    name = "a b/ü%.txt"
    Connection.objects.filter(pk=gateway.pk).update(is_our_gateway=False)
    gateway.refresh_from_db()
    gateway.read_key = "mm_live_read"
    gateway.save()
    message = enclose(gateway, upstream, (name, b"a", "text/plain"), fetched=False)
    path = f"/v1/mailboxes/01MAILBOX/emails/{message.upstream_id}/attachments/{quote(name, safe='')}"
    upstream.answers[path] = (200, b"a")
    assert fetch_all(message) == ["fetched"]
    assert upstream.keys[-1] == "mm_live_read"


def test_next_version_with_the_same_file_takes_over_its_bytes(gateway, upstream):
    message = enclose(gateway, upstream, ("a.txt", b"same", "text/plain"))
    calls = len(upstream.calls)
    show_row(message, subject="Another subject", attachments=[attachment("b.txt", b"same")])
    newest = message.files.order_by("-pk").first()
    assert fetch_file(newest.pk) == "fetched"
    assert bytes(EnclosedFile.objects.get(pk=newest.pk).content) == b"same"
    assert len(upstream.calls) == calls


def test_sweep_finds_what_no_nudge_reached(gateway, upstream, monkeypatch):
    message = enclose(gateway, upstream, ("a.txt", b"a", "text/plain"), fetched=False)
    nudged = []
    monkeypatch.setattr("approvals.tasks.nudge", lambda name, key, **_: nudged.append((name, key)))
    sweep()
    assert ("approvals.tasks.fetch_file", only(message).pk) in nudged


@pytest.mark.parametrize("state", ["rejected", "sent"])
def test_file_of_a_message_past_the_desk_is_not_fetched(gateway, upstream, state):
    message = enclose(gateway, upstream, ("a.txt", b"a", "text/plain"), fetched=False)
    Message.objects.update(state=state)
    assert fetch_all(message) == ["not due"]


# what differs from the fingerprint


@pytest.fixture
def forged(gateway, upstream):
    """A message one of whose files came as other bytes than the fingerprint names."""
    message = enclose(gateway, upstream, ("a.txt", b"as said", "text/plain"), fetched=False)
    upstream.answers[path_of(message, "a.txt")] = (200, b"other!!")
    fetch_all(message)
    return message


def test_other_bytes_than_the_fingerprint_names_are_said_loudly(desk, forged):
    whole = desk.get(f"/queue/{forged.public_id}/").content.decode()
    assert whole.count("An attached file is not the one that is to leave.") == 2
    page = panel(desk, forged)
    assert "This is not the file that is to leave." in page
    assert hashlib.sha256(b"other!!").hexdigest() in page
    assert hashlib.sha256(b"as said").hexdigest() in page
    assert Entry.objects.of_message(forged.public_id).filter(action="message.file_differs").count() == 1


def test_p9_other_bytes_than_the_fingerprint_names_cannot_be_approved(desk, forged, reviewer):
    with pytest.raises(VerdictNotAllowed, match=r"not the file that is to leave \(a\.txt\)"):
        decide(forged, reviewer)
    assert Verdict.objects.count() == 0
    assert decide(forged, reviewer, "reject", "Not what it says").decision.outcome == "reject"


def test_p9_approval_is_not_carried_out_once_other_bytes_came(gateway, upstream, reviewer):
    message = enclose(gateway, upstream, ("a.txt", b"as said", "text/plain"), fetched=False)
    upstream.answers[path_of(message, "a.txt")] = (200, b"other!!")
    given = decide(message, reviewer)
    fetch_all(message)
    make_due()
    assert run_decision(decision_id=given.decision.pk, now=NOW) == "refused"
    assert upstream.decisions == []


def test_bytes_that_nobody_can_look_at_are_here_and_not_trusted(desk, gateway, upstream, monkeypatch):
    monkeypatch.setattr(fetch, "look", lambda *_, **__: {}["nothing"])
    message = enclose(gateway, upstream, ("a.txt", b"a", "text/plain"))
    assert (only(message).state, only(message).kind) == ("fetched", "unknown")
    assert "The desk could not look at its bytes." in panel(desk, message)


def test_findings_name_files_that_lie(desk, gateway, upstream):
    message = enclose(gateway, upstream, ("statement.pdf", b"<html>sign in</html>", "application/pdf"))
    page = desk.get(f"/queue/{message.public_id}/", headers=HTMX).content.decode()
    found = page.partition('id="findings"')[2].partition("</section>")[0]
    assert "<strong><bdi>Its name ends in .pdf, but its bytes are a web page.</bdi></strong>" in found
    assert 'href="#file-1"' in found
    assert "Nothing was found" not in page


def test_other_size_without_a_hash_is_said_and_keeps_nobody_from_deciding(desk, gateway, upstream, reviewer):
    message = enclose(gateway, upstream, ("a.txt", b"abc", "text/plain"), fetched=False)
    EnclosedFile.objects.update(sha256="", size=99)
    fetch_all(message)
    assert "3 bytes came, 99 were announced" in panel(desk, message)
    assert decide(message, reviewer).decision.outcome == "approve"


# handing it out (security line 35)


def check_frame(answer):
    policy = answer["Content-Security-Policy"]
    assert {"sandbox", "default-src 'none'", "img-src data:"} <= {part.strip() for part in policy.split(";")}
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.proves("security 35")
@pytest.mark.parametrize(
    ("name", "content", "content_type"),
    [
        ("page.html", b"<html><script>alert(1)</script>", "text/html"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "image/svg+xml"),
        ("pixel.png", PIXEL, "image/png"),
        ("invoice.pdf", b"%PDF-1.4", "application/pdf"),
    ],
    ids=["html", "svg", "png", "pdf"],
)
def test_file_is_handed_out_as_a_file_to_keep_and_never_as_a_page(desk, gateway, upstream, name, content, content_type):
    message = enclose(gateway, upstream, (name, content, content_type))
    answer = view(desk, message, rest="download/")
    assert (answer.status_code, answer.content) == (200, content)
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
    check_frame(answer)


@pytest.mark.proves("security 35")
def test_file_is_kept_under_a_name_that_hides_nothing(desk, gateway, upstream):
    message = enclose(gateway, upstream, ("invoice_\u202efdp\u200b.exe", b"MZ", "application/pdf"))
    assert view(desk, message, rest="download/")["Content-Disposition"] == 'attachment; filename="invoice_fdp.exe"'


@pytest.mark.proves("security 35")
@pytest.mark.parametrize("name", ["report.pdf.exe", "invoice_\u202efdp.exe", "in\u200bvoice.pdf"])
def test_name_that_hides_its_ending_is_named_and_flagged(desk, gateway, upstream, name):
    message = enclose(gateway, upstream, (name, b"MZ a program", "application/pdf"), fetched=False)
    page = panel(desk, message)
    assert 'class="chip shape rose">High' in page
    assert name not in page or name.isprintable()


@pytest.mark.proves("security 35")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("drawing.svg", b"<svg xmlns='x'><script>alert(1)</script><image href='https://evil.example/x'/></svg>"),
        ("page.html", b"<html><img src=https://evil.example/x><script>alert(1)</script>"),
        ("notes.txt", TEXT),
    ],
    ids=["svg", "html", "text"],
)
def test_text_is_shown_as_escaped_text_with_invisible_characters_named(desk, gateway, upstream, name, content):
    message = enclose(gateway, upstream, (name, content, "text/plain"))
    answer = view(desk, message)
    page = answer.content.decode()
    check_frame(answer)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert ("RIGHT-TO-LEFT OVERRIDE" in page) == (name == "notes.txt")
    assert "\u202e" not in page


def test_picture_is_shown_inside_the_document_that_may_load_nothing(desk, gateway, upstream):
    message = enclose(gateway, upstream, ('a"><b>.png', PIXEL, "image/png"))
    answer = view(desk, message)
    check_frame(answer)
    assert b'<img alt="a&quot;&gt;&lt;b&gt;.png" src="data:image/png;base64,' in answer.content


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ((50_000, 50_000), "would fill the memory"),
        ((20_000, 10), "would fill the memory"),
        ((0, 7), "does not tell how large"),
    ],
)
def test_picture_that_claims_to_be_huge_is_not_drawn(desk, gateway, upstream, size, told):
    content = PIXEL[:16] + size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big") + PIXEL[24:]
    message = enclose(gateway, upstream, ("bomb.png", content, "image/png"))
    answer = view(desk, message)
    assert told in answer.content.decode()
    assert b"<img" not in answer.content


@pytest.mark.parametrize(
    "content", [b"%PDF-1.4", b"PK\x03\x04", b"MZ", b"\x00\x01\x02"], ids=["pdf", "zip", "exe", "none"]
)
def test_what_cannot_be_shown_safely_is_refused_with_a_sentence_and_can_be_kept(desk, gateway, upstream, content):
    message = enclose(gateway, upstream, ("a.bin", content, ""))
    assert "shown" in view(desk, message).content.decode()
    page = panel(desk, message)
    assert "<iframe" not in page
    assert f"/queue/{message.public_id}/files/1/download/" in page


def test_file_that_is_not_here_or_not_of_this_letter_is_404(desk, gateway, upstream):
    message = enclose(gateway, upstream, ("a.txt", b"a", "text/plain"), fetched=False)
    assert view(desk, message, rest="download/").status_code == 404
    assert view(desk, message, 2).status_code == 404
    assert "It is being fetched." in view(desk, message).content.decode()


def test_file_outside_ones_mailboxes_does_not_exist(signed_in, gateway, upstream):
    message = enclose(gateway, upstream, ("a.txt", b"secret words", "text/plain"))
    stranger = make_person("x@yourteam.example", "X", "reviewer", connection=make_connection("other"))
    client = signed_in(stranger)
    for rest in ("", "download/"):
        answer = view(client, message, rest=rest)
        assert (answer.status_code, b"secret words" in answer.content) == (404, False)


# what was opened


def test_file_is_noted_when_first_looked_at_and_each_time_that_somebody_takes_a_copy(desk, gateway, upstream, reviewer):
    message = enclose(gateway, upstream, ("a.txt", b"a", "text/plain"))
    for rest in ("", "", "download/", "download/"):
        view(desk, message, rest=rest)
    entries = Entry.objects.of_message(message.public_id).filter(action="attachment.served").select_related("detail")
    entry, *copies = entries.oldest_first()
    assert [copy.detail.fields["how"] for copy in copies] == ["downloaded", "downloaded"]
    assert entry.detail.fields["sha256"] == hashlib.sha256(b"a").hexdigest()
    assert (entry.actor_id, entry.detail.fields["how"]) == (str(reviewer.pk), "looked at")
    assert "You opened it" in panel(desk, message)


@pytest.mark.parametrize("headers", [{"Sec-Purpose": "prefetch"}, None], ids=["prefetch", "head"])
def test_file_that_nobody_looks_at_is_not_noted(desk, gateway, upstream, headers):
    message = enclose(gateway, upstream, ("a.txt", b"a", "text/plain"))
    if headers:
        view(desk, message, **headers)
    else:
        desk.head(f"/queue/{message.public_id}/files/1/")
    assert OpenedPart.objects.count() == 0


def test_parts_that_nobody_opened_are_counted_and_named_in_the_ledger(desk, gateway, upstream, reviewer):
    message = enclose(gateway, upstream, ("a.txt", b"a", "text/plain"), ("b.txt", b"b", "text/plain"))
    assert ">2 parts unread</a>" in desk.get(f"/queue/{message.public_id}/unread/").content.decode()
    view(desk, message)
    assert ">1 part unread</a>" in desk.get(f"/queue/{message.public_id}/unread/").content.decode()
    assert decide(message, reviewer).verdict.parts_unread == 1
    given = Entry.objects.of_message(message.public_id).select_related("detail").get(action="verdict.given")
    assert given.detail.fields["parts_unread"] == "b.txt"


def test_links_count_as_read_once_the_page_had_them_on_screen(desk, connection, reviewer):
    message = make_message(connection, markdown="See https://example.com/ for more.")
    address = f"/queue/{message.public_id}/"
    assert 'title="Not opened yet: the links"' in desk.get(f"{address}unread/").content.decode()
    assert desk.post(f"{address}part/", {"part": "links"}).status_code == 204
    desk.post(f"{address}part/", {"part": "file:1"})
    assert "hidden" in desk.get(f"{address}unread/").content.decode()
    assert OpenedPart.objects.count() == 1
    assert decide(message, reviewer).verdict.parts_unread == 0


def test_same_bytes_in_the_next_version_stay_opened_and_others_do_not(desk, gateway, upstream):
    message = enclose(gateway, upstream, ("a.txt", b"same", "text/plain"))
    view(desk, message)
    show_row(message, subject="Another", attachments=[attachment("a.txt", b"same")])
    fetch_all(message)
    assert "hidden" in desk.get(f"/queue/{message.public_id}/unread/").content.decode()
    show_row(message, subject="Third", attachments=[attachment("a.txt", b"other")])
    upstream.answers[path_of(message, "a.txt")] = (200, b"other")
    fetch_all(message)
    assert ">1 part unread</a>" in desk.get(f"/queue/{message.public_id}/unread/").content.decode()


# for how long


def test_bytes_are_deleted_a_month_after_the_message_is_past_the_desk(desk, gateway, upstream):
    message = enclose(gateway, upstream, ("a.txt", b"secret words", "text/plain"))
    Message.objects.update(state="sent", changed_at=Now() - timedelta(days=29))
    assert retain.forget_files() == 0
    Message.objects.update(changed_at=F("changed_at") - timedelta(days=2))
    assert retain.forget_files() == 1
    file = only(message)
    assert (file.content, file.state, bool(file.found_sha256)) == (None, "deleted", True)
    assert "Its bytes were deleted here" in panel(desk, message)
    assert view(desk, message, rest="download/").status_code == 404


def test_bytes_of_what_still_waits_are_kept(gateway, upstream):
    enclose(gateway, upstream, ("a.txt", b"a", "text/plain"))
    EnclosedFile.objects.update(fetched_at=Now() - timedelta(days=400))
    Message.objects.update(changed_at=Now() - timedelta(days=400))
    assert retain.forget_files() == 0
