"""The pages of the allowlists: changes conflicts, and permissions."""

from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError

from policy.models import Allowlist
from policy.pages import ChangeForm
from policy.rules.changes import WantedEntry
from tests.factories import (
    change_list,
    listed_patterns,
    make_connection,
    make_list,
    make_person,
)
from tests.markup import says, text_of


def save(client, at, lines="", **fields):
    """Change a list as its page showed it."""
    seen = client.get(at.url).context["form"]["seen"].value()
    return client.post(f"{at.url}change/", {"lines": lines, "seen": seen, **fields})


def missing(answer, *words):
    """The expected words that are missing on the page."""
    return [one for one in words if one not in text_of(answer)]


def test_entries_are_added_changed_and_removed_on_the_page_of_a_list(
    signed_in, admin, connection
):
    at = make_list()
    change_list(admin, "northwind.example", "old.example", note="Customers")
    client = signed_in(admin)
    lines = "dana@x.example, The fair\n\nnorthwind.example, The fair"
    answer = save(client, at, lines, remove=["old.example"])
    assert answer["Location"] == at.url
    assert listed_patterns(note="The fair") == ["dana@x.example", "northwind.example"]
    assert listed_patterns() == listed_patterns(note="The fair")
    found = text_of(client.get(f"{at.url}?q=Dana@NORTHWIND.example."))
    assert "1 found" in found


def test_list_is_made_and_deleted_on_its_pages(signed_in, admin, connection):
    client = signed_in(admin)
    mailbox = connection.mailboxes.get()
    ours = {"name": "Ours", "place": "mailbox-0"}
    says(client.post("/allowlists/add/", ours), 422, "Choose a scope")
    ours["place"] = f"mailbox-{mailbox.pk}"
    made = client.post("/allowlists/add/", ours)
    at = Allowlist.objects.get(mailbox=mailbox)
    assert made["Location"] == at.url
    page = client.get("/allowlists/")
    assert missing(page, "Ours", str(mailbox), "Nothing") == []
    assert client.post(f"{at.url}delete/")["Location"] == "/allowlists/"
    assert not Allowlist.objects.exists()


def test_lists_of_others_are_not_shown_and_only_their_admins_change_them(
    signed_in, connection
):
    everywhere = make_list("x.example")
    here = make_list("y.example", connection=connection)
    mailbox = make_connection("other").mailboxes.get()
    client = signed_in(make_person("x@y.example", "X", "admin", mailbox=mailbox))
    for path in (here.url, "/allowlists/0/"):
        assert client.get(path).status_code == 404, path
    for act, fields in (
        ("change", {"lines": "evil.example"}),
        ("change", {"lines": "evil.example", "seen": "x"}),
        ("delete", {}),
    ):
        assert client.post(f"{here.url}{act}/", fields).status_code == 404
        assert client.post(f"{everywhere.url}{act}/", fields).status_code == 403
    assert listed_patterns() == ["x.example", "y.example"]


def test_lines_are_read_and_faulty_ones_say_why():
    text = """
        *@A.example., two words, 2026-12-31
        e.example,,2026-12-31T18:00:00+02:00
    """
    ends = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    read_lines = ChangeForm.base_fields["lines"].clean
    assert read_lines(text) == [
        WantedEntry("a.example", "two words", ends),
        WantedEntry("e.example", expires_at=datetime(2026, 12, 31, 16, tzinfo=UTC)),
    ]
    for line, words in (
        ("*.com,,", "name@domain"),
        ("b.example,,tomorrow", "not a date"),
        ("d.example,,,more", "more than"),
        (f"g.example,{'x' * 301}", "longer than 300"),
    ):
        with pytest.raises(ValidationError, match=words):
            read_lines(f"a.example\n{line}")
