"""The reviewer is deactivated or loses the role before the call: nothing of theirs is sent any more."""

import itertools
import re

import pytest
import requests

from tests.desk import Browser
from tests.faults import wire
from tests.faults.proxy import DECIDE, READ

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]

PASSWORD = "a gannet counts slow wagons"
_numbers = itertools.count(1)


class Newcomer:
    """A reviewer who joined by an admin's invitation."""

    def __init__(self, desk, scope):
        self.desk, self.admin = desk, desk.product.reviewer("ADMIN")
        self.email = f"cleo{next(_numbers)}@yourteam.example"
        page = self.admin.get("/people/invite/")
        fields = {"email": self.email, "roles": "reviewer", "place": scope}
        made = self.admin.post("/people/invite/", page, **fields)
        self._join(re.search(r">(https?://[^<]+/join/[^<]+)<", made.text)[1])
        [self.row] = desk.sql("SELECT id FROM people_person WHERE email = %s", self.email)
        self.browser = self.sign_in()

    def _join(self, link):
        own = requests.Session()
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', own.get(link, timeout=60).text)[1]
        fields = {"name": "Cleo", "password": PASSWORD, "password_again": PASSWORD, "csrfmiddlewaretoken": token}
        assert own.post(link, fields, timeout=60, allow_redirects=False).status_code == 302

    def sign_in(self):
        return Browser(self.desk.known["DASHBOARD_URL"], self.email, PASSWORD)

    def approve(self, held):
        assert self.browser.decide(held.id, "approve", held.fingerprint).status_code == 302
        self.desk.note("CLEO", "approve", upstream_id=held.upstream_id)

    def by_admin(self, what, **fields):
        """Let the admin press a button on the person's page."""
        path = f"/people/{self.row['id']}/"
        assert self.admin.post(f"{path}{what}/", self.admin.get(path), **fields).status_code == 302

    def lose_roles(self):
        for grant in self.desk.sql("SELECT id FROM people_grant WHERE person_id = %s", self.row["id"]):
            self.by_admin("roles/remove", grant=str(grant["id"]))

    def be_signed_out(self):
        other = self.sign_in()
        page = other.get("/people/me/sessions/")
        assert other.post("/people/me/sessions/end-others/", page).status_code == 302


def mailbox_of(desk):
    [row] = desk.sql("SELECT id FROM mirror_mailbox WHERE upstream_id = %s", desk.known["MAILBOX_ID"])
    return f"mailbox-{row['id']}"


# The scope of the role, what happens to the person, and the resulting state of the decision.
HAPPENINGS = [
    ("all", lambda cleo: cleo.by_admin("deactivate"), "refused"),
    ("all", Newcomer.lose_roles, "refused"),
    ("mailbox", Newcomer.lose_roles, "refused"),
    ("all", Newcomer.be_signed_out, "applied"),
]


def test_decision_of_whoever_may_not_decide_any_more_is_refused_when_it_is_due(desk):
    for scope, happen, state in HAPPENINGS:
        held = desk.hold()
        cleo = Newcomer(desk, mailbox_of(desk) if scope == "mailbox" else scope)
        with desk.undo_window():
            cleo.approve(held)
        happen(cleo)
        assert cleo.browser.get("/queue/").status_code == 302
        desk.let_fall_due(held)
        ended = desk.sweep_to(held, state)
        if state == "refused":
            assert ended["explanation"].startswith("Cleo may no longer decide this")
            assert (desk.upstream.requests(DECIDE, held.upstream_id), desk.effects(held)) == ([], [])
            assert desk.decide(held) == 302
            desk.sweep_to(held, "applied")
        assert len(desk.effects(held)) == 1


def test_decision_whose_content_is_being_read_again_is_not_executed(desk):
    held = desk.hold()
    cleo, read = Newcomer(desk, "all"), wire.Hold(after_answer=True)
    with desk.upstream.fault(read, READ, held.upstream_id, times=1):
        cleo.approve(held)
        desk.sweep()
        read.wait()
        cleo.by_admin("deactivate")
        read.release()
        ended = desk.sweep_to(held, "refused")
    assert ended["explanation"].startswith("Cleo may no longer decide this")
    assert ended["may_have_left"] is False
    assert desk.upstream.requests(DECIDE, held.upstream_id) == []
    assert desk.decide(held) == 302
    desk.sweep_to(held, "applied")
