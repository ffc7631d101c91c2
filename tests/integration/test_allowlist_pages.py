"""The pages of the allowlists, and the lines in which entries are typed."""

from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError

from common.time_zones import somebodys_time
from policy.models import Allowlist
from policy.pages import ChangeForm
from policy.rules.changes import WantedEntry
from tests.factories import (
    change_list,
    listed_patterns,
    make_list,
)
from tests.markup import says


def test_list_is_made_changed_and_deleted_on_its_pages(signed_in, admin, mailbox):
    client = signed_in(admin)
    ours = {"name": "Ours", "place": "mailbox-0"}
    says(client.post("/allowlists/add/", ours), 422, "Choose a scope")
    ours["place"] = f"mailbox-{mailbox.pk}"
    made = client.post("/allowlists/add/", ours)
    at = Allowlist.objects.get(mailbox=mailbox)
    assert made["Location"] == at.url
    says(client.get("/allowlists/"), 200, "Ours", str(mailbox), "Nothing")
    change_list(admin, "northwind.example", "old.example", note="Customers")
    change = {
        "seen": client.get(at.url).context["form"]["seen"].value(),
        "lines": "dana@x.example, The fair\n\nnorthwind.example, The fair",
        "remove": ["old.example"],
    }
    assert client.post(f"{at.url}change/", change)["Location"] == at.url
    assert listed_patterns(note="The fair") == ["dana@x.example", "northwind.example"]
    assert listed_patterns() == listed_patterns(note="The fair")
    # What the page showed has changed meanwhile.
    late = {**change, "lines": "eve@x.example", "remove": ["x\0", "dana@x.example"]}
    assert client.post(f"{at.url}change/", late).status_code == 409
    assert listed_patterns() == listed_patterns(note="The fair")
    says(client.get(f"{at.url}?q=Dana@NORTHWIND.example."), 200, "1 found")
    assert client.post(f"{at.url}delete/")["Location"] == "/allowlists/"
    assert not Allowlist.objects.exists()


# Others' lists: test_permissions.py.
def test_list_for_all_mail_is_shown_to_all_and_changed_by_admins_of_everything(
    signed_in, keeper
):
    at = make_list("x.example")
    client = signed_in(keeper)
    says(client.get(at.url), 200, "x.example")
    for act in ("change", "delete"):
        answer = client.post(f"{at.url}{act}/", {"lines": "evil.example"})
        assert answer.status_code == 403
    assert listed_patterns() == ["x.example"]


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
    # Without a zone it is the reader's.
    with somebodys_time(lambda: "America/New_York"):
        (entry,) = read_lines("f.example,,2026-12-31T18:00")
    assert entry.expires_at == datetime(2026, 12, 31, 23, tzinfo=UTC)
    for line, words in (
        ("*.com,,", "name@domain"),
        ("b.example,,tomorrow", "not a date"),
        ("d.example,,,more", "more than"),
        (f"g.example,{'x' * 301}", "longer than 300"),
    ):
        with pytest.raises(ValidationError, match=words):
            read_lines(f"a.example\n{line}")
