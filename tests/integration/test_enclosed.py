"""Attached files: fetched in the background, recognised by their bytes, shown harmlessly or refused, never a page."""

import hashlib
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.db.models import F
from django.db.models.functions import Now

from approvals import retain
from approvals.decide import give_verdict
from approvals.enclosed import fetch
from approvals.errors import VerdictNotAllowed
from approvals.models import Connection, EnclosedFile, Message, OpenedPart, Verdict
from approvals.tasks import fetch_file, sweep
from audit.models import Entry
from tests.factories import NOW, make_connection, make_message, make_person, show_row
from tests.integration.deciding import carry_out, decide

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
    return f"/v1/oversight/pending/{message.upstream_id}/attachments/{name}"


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
    return client.get(f"/queue/{message.public_id}/files/", headers=HTMX).content.decode()


# fetching


def test_file_is_fetched_with_the_right_to_decide_and_kept_with_what_it_is(gateway, upstream):
    message = enclose(gateway, upstream, ("pixel.png", PIXEL, "image/png"))
    file = only(message)
    assert (file.state, bytes(file.content), file.kind) == ("fetched", PIXEL, "png")
    assert file.found_sha256 == hashlib.sha256(PIXEL).hexdigest()
    assert (file.found_size, file.seen["width"], file.seen["height"], file.differs) == (len(PIXEL), 1, 1, False)
    assert upstream.keys[-1] == "mm_live_oversight"


def test_page_shows_claim_kind_and_whole_hash(desk, gateway, upstream):
    message = enclose(gateway, upstream, ("pixel.png", PIXEL, "image/png"))
    page = panel(desk, message)
    assert hashlib.sha256(PIXEL).hexdigest() in page
    assert "PNG picture, 1 × 1 pixels" in page
    assert "as in the fingerprint" in page
