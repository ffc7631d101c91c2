"""The pages of the allowlists."""

import pytest

from common.time_zones import somebodys_time
from policy.models import AllowEntry, Allowlist
from policy.pages import MAX_LINES, read_line
from simple_form.data import rows
from tests.factories import change_list, listed_patterns, make_list
from tests.markup import says

LINES = """
*@X.example., The fair, 2026-12-31

northwind.example,,2026-12-31T18:00:00+02:00
"""
ENTRIES = """
northwind.example   -          2026-12-31 16:00:00+00:00
x.example           The fair   2026-12-31 23:59:59+00:00
"""
# Lines that are refused, and why.
FAULTY = f"""
*.com,,                  name@domain
b.example,,tomorrow      not a date
d.example,,,more         more than
g.example,{"x" * 301}    longer than 300
"""


def test_list_is_made_changed_and_deleted_on_its_pages(signed_in, admin, mailbox):
    client = signed_in(admin)
    ours = {"name": "Ours", "place": "mailbox-0"}
    says(client.post("/allowlists/add/", ours), 422, "Choose a scope")
    ours["place"] = f"mailbox-{mailbox.pk}"
    path = client.post("/allowlists/add/", ours)["Location"]
    assert path == Allowlist.objects.get(mailbox=mailbox).url
    says(client.get("/allowlists/"), 200, "Ours", str(mailbox), "Nothing")
    change_list(admin, "northwind.example", "old.example", note="Customers")
    change = {"seen": client.get(path).context["form"]["seen"].value()}
    for line, why in rows(FAULTY):
        answer = client.post(
            f"{path}change/", {**change, "lines": f"a.example\n{line}"}
        )
        says(answer, 422, "Line 2", why)
    # The second time, what the page showed has changed meanwhile.
    change |= {"lines": LINES, "remove": ["old.example"]}
    late = {**change, "lines": "eve@x.example", "remove": ["x\0", "x.example"]}
    for typed, status in ((change, 302), (late, 409)):
        assert client.post(f"{path}change/", typed).status_code == status
        stored = AllowEntry.objects.order_by("pattern")
        found = [[one.pattern, one.note or "-", f"{one.expires_at}"] for one in stored]
        assert found == [*rows(ENTRIES)]
    says(client.get(f"{path}?q=Dana@NORTHWIND.example."), 200, "1 found")
    assert client.post(f"{path}delete/")["Location"] == "/allowlists/"
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


@pytest.mark.slow
def test_as_many_lines_as_a_form_takes_become_entries(signed_in, admin):
    at = make_list("x.example")
    client = signed_in(admin)
    seen = client.get(at.url).context["form"]["seen"].value()
    lines = "\n".join(f"a{n}@b.example" for n in range(MAX_LINES))
    for text, status in ((f"{lines}\nc.example", 422), (lines, 302)):
        answer = client.post(f"{at.url}change/", {"seen": seen, "lines": text})
        assert answer.status_code == status
    assert len(listed_patterns()) == 20_001


def test_end_without_a_zone_is_in_that_of_the_reader():
    with somebodys_time(lambda: "America/New_York"):
        entry = read_line("f.example,,2026-12-31T18:00")
    assert str(entry.expires_at) == "2026-12-31 23:00:00+00:00"
