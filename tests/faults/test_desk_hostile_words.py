"""Contract line 50: what strangers wrote is text on every page, and who decided what, when and why is kept."""

import datetime

import pytest

pytestmark = pytest.mark.xdist_group("desk-faults")

MARK = "<img src=x onerror=alert(1)>"


@pytest.mark.proves("contract 50")
def test_hostile_words_are_text_on_every_page(desk):
    held = desk.hold(
        subject=f"Refund {MARK}",
        body=f"Hello {MARK} <script>alert(2)</script>",
        to="o'neil&ltimg@northwind.example",
        metadata={"discord_user": MARK, MARK: "x", "discord_channel": "\"'><svg onload=alert(3)>"},
    )
    assert desk.decide(held, "reject", reason=f"No {MARK}") == 302
    desk.wait_for_decision(held, "applied")
    desk.wait_for_message(held, "rejected")
    auditor = desk.person("AUDITOR")
    for path in ("/queue/?tab=done", "/history/", f"/queue/{held.id}/", "/audit/", f"/audit/trace/{held.id}/"):
        page = auditor.get(path)
        assert page.status_code == 200
        assert "Refund" in page.text, path
        for live in ("<img src=x", "<svg onload", "<script>alert"):
            assert live not in page.text, f"{path} shows {live} as markup"


@pytest.mark.proves("contract 50")
def test_approver_time_and_reason_are_kept_with_each_decision(desk):
    held = desk.hold()
    before = datetime.datetime.now(datetime.UTC)
    assert desk.decide(held, "reject", who="REVIEWER2", reason="The amount is wrong") == 302
    decision = desk.wait_for_decision(held, "applied")
    [person] = desk.sql("SELECT name FROM people_person WHERE id = %s", decision["given_by_id"])
    assert (person["name"], decision["reason"]) == ("Ben Okafor", "The amount is wrong")
    assert before < decision["recorded_at"] < datetime.datetime.now(datetime.UTC)
    [entry] = [one for one in desk.person("AUDITOR").trace(held.id) if one["action"] == "decision.recorded"]
    assert (entry["actor"], entry["details"]["reason"]) == ("Ben Okafor", "The amount is wrong")
    assert entry["at"]
