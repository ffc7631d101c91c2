"""The pages of mailboxes, on the real gateway: what is shown, making, changing,
tightening, loosening, deleting.
"""

import re
from datetime import timedelta

import pytest

from audit.models import Entry
from connections.keys import commands as keys
from connections.mailboxes import commands
from connections.mailboxes import commands as mailboxes
from connections.mailboxes.forms import DeskForm, NewMailboxForm
from connections.webhooks import commands as webhooks
from gateway.models import ApprovalRequest, UpgradeRequest
from gateway.models import Mailbox as GatewayMailbox
from mirror.errors import ActNotAllowed
from mirror.models import Connection
from mirror.sync.account import read_mailboxes
from mirror.tasks import read_all_mailboxes
from people.models import Grant
from tests.factories import actor_of, make_connection, make_message, make_person
from tests.ledger import latest_details
from tests.markup import leads_to, says, text_of


def recorded_actions():
    """The actions that the ledger has about the account, oldest first."""
    skipped = ("message.", "webhook.", "person.")
    return [
        one.action
        for one in Entry.objects.oldest_first()
        if not one.action.startswith(skipped)
    ]


def settings_of(account, **changed):
    """The form of an unchanged mailbox with these changes."""
    return {
        "display_name": account.mailbox.display_name,
        "auto_cc": "",
        "auto_bcc": "",
        "signature_block": "",
        "default_gate_timing": "gate_first",
        "scheduling_enabled": "1",
        "simplify_html": "1",
        **changed,
    }


# --- what is shown


@pytest.mark.slow
def test_page_reads_the_mailboxes_and_keeps_those_that_are_gone_or_not_listed(
    signed_in, admin, account
):
    made = {
        "address_local": "board",
        "oversight_mode": "gated_all",
        "auto_bcc": "eve@acme.example",
    }
    assert account.ask("POST", "/v1/mailboxes", json=made).status_code == 201
    client = signed_in(admin)
    kept = "support@acme.example"
    modes = ("Sent mail waits", "All mail waits")
    says(client.get("/mailboxes/"), 200, kept, "board@acme.example", "Bcc", *modes)
    board = account.connection.mailboxes.get(address="board@acme.example")
    assert board.auto_bcc == ["eve@acme.example"]
    there = GatewayMailbox.objects.filter(pk=account.world.mailbox.pk)
    for is_active in (False, True):
        there.update(is_active=is_active)
        page = text_of(client.get("/mailboxes/"))
        assert ("Gone at MultiMail (" in page) != is_active
        assert account.mailbox.is_active == is_active
    for status, body, words in ((401, b"{}", ""), (502, b"<html>", "502")):
        account.gateway.spoiled[("GET", "/mailboxes")] = (status, body)
        says(client.get("/mailboxes/"), 200, kept, "may be out of date", words)


def test_key_that_does_not_list_some_mailboxes_marks_none_as_gone(account, sent_tasks):
    make_connection("without", oversight_key="mm_live_other")
    read_all_mailboxes()
    assert sent_tasks == [("mirror.tasks.read_mailboxes", account.connection.pk)]
    account.ask("POST", "/v1/mailboxes", json={"address_local": "board"})
    limited = {"name": "X", "scopes": ["read"], "mailboxes": ["board@acme.example"]}
    key = account.ask("POST", "/v1/api-keys", json=limited).json()["api_key"]
    here = Connection.objects.filter(pk=account.connection.pk)
    here.update(admin_key="", read_key=key)
    assert read_mailboxes(connection_id=account.connection.pk) == ""
    boxes = account.connection.mailboxes.filter(is_active=True)
    assert {str(box).partition("@")[0] for box in boxes} == {"support", "board"}


def test_only_admins_of_a_mailbox_see_its_form_and_its_upgrade_code_and_others_only_their_own(
    signed_in, account
):
    account.ask("POST", "/v1/mailboxes", json={"address_local": "board"})
    read_mailboxes(connection_id=account.connection.pk)
    path = f"/v1/mailboxes/{account.world.mailbox.pk}/request-upgrade"
    account.ask("POST", path, key="agent", json={"target_mode": "monitored"})
    code = UpgradeRequest.objects.get().code
    box = account.mailbox
    board = account.connection.mailboxes.get(address="board@acme.example")
    client = signed_in(make_person("x@yourteam.example", "X", "reviewer", mailbox=box))
    page = client.get(f"/mailboxes/{box.pk}/").text.partition("<main")[2]
    assert "<form" not in page.partition("</main>")[0]
    assert not re.search(f"board@acme.example|{code}", client.get("/mailboxes/").text)
    keeper = make_person("k@yourteam.example", "K", "admin", mailbox=board)
    Grant.objects.create(person=keeper, role="reviewer", mailbox=box)
    page = text_of(signed_in(keeper).get("/mailboxes/"))
    assert "support@acme.example" in page
    assert not re.search(f"asks that|{code}", page)
    keeper.grants.filter(role="admin").update(mailbox=box)
    wish = "asks that support@acme.example be monitored"
    link = f'href="/mailboxes/{box.pk}/loosen/?to=monitored"'
    says(client.get("/mailboxes/"), 200, wish, code, link)


# The command itself refuses what the page refuses.
COMMANDS = {
    "create": lambda a, by: mailboxes.create_mailbox(
        connection=a.connection, actor=by, wanted={"address": "x"}
    ),
    "change": lambda a, by: mailboxes.change_mailbox(
        mailbox=a.mailbox, actor=by, changes={"display_name": "X"}
    ),
    "delete": lambda a, by: mailboxes.delete_mailbox(mailbox=a.mailbox, actor=by),
    "loosen": lambda a, by: commands.loosen(
        mailbox=a.mailbox, actor=by, target="autonomous"
    ),
    "list keys": lambda a, by: keys.read_keys(a.connection, actor=by),
    "make a key": lambda a, by: keys.create_key(
        connection=a.connection, actor=by, wanted={}
    ),
    "change a key": lambda a, by: keys.change_key(
        connection=a.connection, key=A_KEY, actor=by, changes={"name": "X"}
    ),
    "revoke a key": lambda a, by: keys.revoke_key(
        connection=a.connection, key=A_KEY, actor=by
    ),
    "own a key": lambda a, by: keys.set_owner(
        connection=a.connection, key_id="1", name="", person=None, actor=by
    ),
    "list webhooks": lambda a, by: webhooks.read_webhooks(a.connection, actor=by),
    "register a webhook": lambda a, by: webhooks.register_webhook(
        connection=a.connection, actor=by, name="", wanted={}
    ),
    "rotate a webhook": lambda a, by: webhooks.rotate_webhook(
        connection=a.connection, webhook=A_WEBHOOK, actor=by, overlap_s=0
    ),
    "test a webhook": lambda a, by: webhooks.send_test(
        connection=a.connection, webhook=A_WEBHOOK, actor=by
    ),
    "replay": lambda a, by: webhooks.replay(
        connection=a.connection, webhook=A_WEBHOOK, delivery_id="1", actor=by
    ),
    "end a webhook": lambda a, by: webhooks.delete_webhook(
        connection=a.connection, webhook=A_WEBHOOK, actor=by
    ),
}
A_KEY = keys.ApiKey("1", "K", "mm_live_abc...", ("read",), (), None, None, True, False)
A_WEBHOOK = webhooks.Webhook("1", "https://x.example", (), "", None, True, "", False)


def test_command_refuses_whoever_is_no_admin_and_asks_nobody(account, reviewer):
    for name, command in COMMANDS.items():
        with pytest.raises(ActNotAllowed, match="Only an admin"):
            command(account, actor_of(reviewer))
        assert account.gateway.calls == [], name
        assert recorded_actions() == [], name


def test_windows_are_set_by_an_admin_of_the_mailbox_also_without_an_admin_key(
    signed_in, admin, keeper, connection
):
    box = connection.mailboxes.get()
    path = f"/mailboxes/{box.pk}/windows/"
    for undo, expire, words in (
        ("601", "", "0 to 600 seconds"),
        ("-1", "", "0 to 600 seconds"),
        ("5", "0.5", "1 to 2160 hours"),
        ("5", "2161", "1 to 2160 hours"),
        ("5", "nan", "1 to 2160 hours"),
    ):
        form = DeskForm({"undo_seconds": undo, "expire_hours": expire})
        (sentence,) = form.errors_by_field().values()
        assert words in sentence, (undo, expire)
    client = signed_in(admin)
    says(client.post(path, {"undo_seconds": "601"}), 422, "0 to 600 seconds")
    mode = client.post(f"/mailboxes/{box.pk}/mode/", {"mode": "read_only"})
    says(mode, 403, "no admin key")
    typed = {"undo_seconds": "20", "expire_hours": "48"}
    assert signed_in(keeper).post(path, typed).status_code == 302
    box.refresh_from_db()
    assert box.undo_window == timedelta(seconds=20)
    assert box.expire_after == timedelta(hours=48)
    assert recorded_actions() == ["access.denied", "mailbox.changed"]


# --- at MultiMail


def test_only_what_differs_is_sent_and_the_ledger_keeps_before_and_after(
    signed_in, admin, account
):
    client = signed_in(admin)
    path = f"/mailboxes/{account.mailbox.pk}/settings/"
    # An invalid value is refused at its field.
    answer = client.post(path, settings_of(account, auto_cc="not an address"))
    assert answer.status_code == 422
    assert account.asked("PATCH", "") == 0
    error = answer.text.partition('id="auto-cc-wrong"')[2][:300]
    assert "is not an email address" in error
    GatewayMailbox.objects.update(display_name="Somebody else's change")
    fields = settings_of(account, auto_bcc="Eve@ACME.example, mia@acme.example")
    answer = client.post(path, fields)
    box = GatewayMailbox.objects.get()
    assert answer.status_code == 302
    assert box.auto_bcc == "Eve@acme.example, mia@acme.example"
    assert box.display_name == "Somebody else's change"
    assert account.mailbox.auto_bcc == ["Eve@acme.example", "mia@acme.example"]
    assert recorded_actions() == ["account.change_asked", "mailbox.changed"]
    assert "auto_bcc: nobody" in latest_details("mailbox.changed")["before"]
    # Allowing calls to loosen it counts as loosening.
    cleared = settings_of(account, allow_looser_per_call="1")
    assert client.post(path, cleared).status_code == 302
    box.refresh_from_db()
    assert box.auto_bcc == ""
    assert box.allow_looser_per_call is True
    assert recorded_actions()[-1] == "mailbox.loosened"


def test_mailbox_becomes_commercial_when_the_account_has_an_address(
    signed_in, admin, account
):
    client = signed_in(admin)
    path = f"/mailboxes/{account.mailbox.pk}/settings/"
    says(
        client.post(path, settings_of(account, commercial="1")),
        422,
        "the account has no postal address",
    )
    account.ask("PATCH", "/v1/account", json={"physical_address": "1 Road"})
    assert client.post(path, settings_of(account, commercial="1")).status_code == 302
    assert GatewayMailbox.objects.get().commercial
    assert account.mailbox.commercial
    assert latest_details("mailbox.changed")["after"] == "commercial: True"


def test_fingerprint_is_required_at_once_and_no_longer_only_with_an_operators_code(
    signed_in, admin, account
):
    client = signed_in(admin)
    box = account.mailbox
    whole = f"/connections/{account.connection.pk}/fingerprint/"
    ways = (
        (
            f"/mailboxes/{box.pk}/settings/",
            settings_of(account, require_fingerprint="1"),
            settings_of(account),
        ),
        (whole, {"required": "1"}, {"required": "0"}),
    )
    for path, on, off in ways:
        assert client.post(path, on).status_code == 302, path
        row = account.ask("GET", "/v1/mailboxes").json()["mailboxes"][0]
        mine = Connection.objects.get(pk=account.connection.pk)
        assert row["require_fingerprint"] is (path != whole)
        assert row["account_requires_fingerprint"] is (path == whole)
        assert account.mailbox.require_fingerprint is (path != whole)
        assert mine.require_fingerprint is (path == whole)
        says(client.post(path, off), 202, 'name="approval_code"')
        code = ApprovalRequest.objects.latest("id").code
        assert client.post(path, off | {"approval_code": code}).status_code == 302
        mine.refresh_from_db()
        assert not account.mailbox.require_fingerprint
        assert not mine.require_fingerprint
    assert [one for one in recorded_actions() if "asked" not in one] == [
        "mailbox.changed",
        "mailbox.change_failed",
        "mailbox.loosened",
        "connection.changed",
        "connection.change_failed",
        "connection.changed",
    ]
    # Set at the gateway by somebody else: the next read brings it.
    account.ask("PATCH", "/v1/account", json={"require_fingerprint": True})
    assert read_mailboxes(connection_id=account.connection.pk) == ""
    page = client.get(whole.replace("fingerprint/", ""))
    says(page, 200, "Every decision about mail of this account has to name")


def test_tightening_takes_one_step_also_where_the_answer_was_lost(
    signed_in, admin, account
):
    client = signed_in(admin)
    path = f"/mailboxes/{account.mailbox.pk}/mode/"
    assert client.post(path, {"mode": "gated_all"}).status_code == 302
    assert GatewayMailbox.objects.get().oversight_mode == "gated_all"
    assert account.mailbox.oversight_mode == "gated_all"
    account.gateway.lost.add(("PATCH", f"/mailboxes/{account.world.mailbox.pk}"))
    GatewayMailbox.objects.update(oversight_mode="gated_send")
    assert read_mailboxes(connection_id=account.connection.pk) == ""
    assert client.post(path, {"mode": "gated_all"}).status_code == 302
    assert account.asked("PATCH", "") == 2
    lost = [
        "account.change_asked",
        "mailbox.change_failed",
        "mailbox.seen_changed",
        "mailbox.changed",
    ]
    assert recorded_actions()[-4:] == lost
    assert account.mailbox.oversight_mode == "gated_all"
    # What cannot be read either is shown as unknown.
    account.gateway.spoiled[("GET", "/mailboxes")] = (500, b"{}")
    says(client.post(path, {"mode": "read_only"}), 502, "may have been made")
    assert recorded_actions()[-2:] == ["account.change_asked", "mailbox.change_failed"]


# --- loosening


def test_loosening_says_what_will_be_otherwise_takes_both_steps_and_is_in_the_ledger(
    signed_in, admin, account
):
    client = signed_in(admin)
    box = account.mailbox
    answer = client.post(f"/mailboxes/{box.pk}/mode/", {"mode": "autonomous"})
    assert answer["Location"] == f"/mailboxes/{box.pk}/loosen/?to=autonomous"
    says(
        client.get(answer["Location"]),
        200,
        "Mail from support@acme.example will be sent without review.",
        "Nobody gets a copy of sent mail.",
    )
    assert GatewayMailbox.objects.get().oversight_mode == "gated_send"
    path = f"/mailboxes/{box.pk}/loosen/"
    assert client.post(path, {"to": "monitored"}).status_code == 302
    assert GatewayMailbox.objects.get().oversight_mode == "monitored"
    assert account.mailbox.oversight_mode == "monitored"
    details = latest_details("mailbox.loosened")
    assert details["before"] == "gated_send"
    assert details["after"] == "monitored"


def test_code_that_only_a_person_gets_is_asked_for_and_accepted(
    signed_in, admin, account
):
    # As at hosted MultiMail, which lists no requests and mails the code.
    account.gateway.spoiled[("GET", "/upgrade-requests")] = (
        404,
        b'{"error": "There is nothing here."}',
    )
    client = signed_in(admin)
    path = f"/mailboxes/{account.mailbox.pk}/loosen/"
    says(client.post(path, {"to": "monitored"}), 202, 'name="code"')
    says(
        client.post(path, {"to": "monitored", "code": "AAA-AAA"}),
        422,
        "The code is wrong",
    )
    # It is loosened; where the answer was lost, a read confirms it.
    account.gateway.lost.add(("POST", "/upgrade"))
    code = UpgradeRequest.objects.get().code
    assert client.post(path, {"to": "monitored", "code": code}).status_code == 302
    assert account.mailbox.oversight_mode == "monitored"
    assert account.asked("POST", "/upgrade") == 2


# --- making and deleting


def new(account, **fields):
    return {
        "connection": account.connection.pk,
        "address": "outreach",
        "oversight_mode": "gated_all",
        **fields,
    }


def test_mailbox_is_made_once_also_where_the_answer_was_lost(signed_in, admin, account):
    client = signed_in(admin)
    answer = client.post("/mailboxes/add/", new(account, display_name="Outreach"))
    made = account.connection.mailboxes.get(address="outreach@acme.example")
    assert leads_to(answer) == f"/mailboxes/{made.pk}/"
    assert made.oversight_mode == "gated_all"
    assert made.display_name == "Outreach"
    assert not made.allow_looser_per_call
    assert recorded_actions()[-1] == "mailbox.created"
    account.gateway.lost.add(("POST", "/mailboxes"))
    board = new(account, address="board")
    assert client.post("/mailboxes/add/", board).status_code == 302
    assert account.asked("POST", "/mailboxes") == 2
    assert GatewayMailbox.objects.filter(address="board@acme.example").count() == 1
    assert recorded_actions().count("mailbox.created") == 2
    loose = new(account, address="letters", allow_looser_per_call="1")
    client.post("/mailboxes/add/", loose)
    made = account.connection.mailboxes.get(address="letters@acme.example")
    assert made.allow_looser_per_call
    assert recorded_actions()[-1] == "mailbox.loosened"


@pytest.mark.slow
def test_mailbox_that_cannot_be_made_is_refused_with_a_sentence(
    signed_in, admin, account
):
    client = signed_in(admin)
    connections = Connection.objects.all()
    for name, value, words in (
        ("address", "a b", "before the @"),
        ("oversight_mode", "autonomous", "Choose a mode"),
        ("connection", "", "Choose an account"),
    ):
        form = NewMailboxForm(new(account, **{name: value}))
        form.fields["connection"].queryset = connections
        ((field, error),) = form.errors_by_field().items()
        assert field == name, error
        assert words in error, error
    says(
        client.post("/mailboxes/add/", new(account, address="support")), 422, "is taken"
    )
    account.gateway.spoiled[("POST", "/mailboxes")] = (500, b'{"error": "Broken."}')
    answer = client.post("/mailboxes/add/", new(account))
    says(answer, 502, "Check again before you create it again")
    assert 'value="outreach"' in answer.text
    assert GatewayMailbox.objects.count() == 1


@pytest.mark.slow
def test_code_of_an_operator_is_asked_for_and_finishes_it(
    signed_in, admin, account, settings
):
    settings.GATEWAY_APPROVAL_CODES = "1"
    client = signed_in(admin)
    delete = f"/mailboxes/{account.mailbox.pk}/delete/"
    for path, form in (
        ("/mailboxes/add/", new(account)),
        (delete, {"address": account.mailbox.address}),
    ):
        says(client.post(path, form), 202, 'name="approval_code"')
        form["approval_code"] = ApprovalRequest.objects.latest("id").code
        assert client.post(path, form).status_code == 302
    assert GatewayMailbox.objects.filter(address="outreach@acme.example").exists()
    assert not GatewayMailbox.objects.get(pk=account.mailbox.upstream_id).is_active


def test_deleting_says_how_many_are_cancelled_and_takes_the_address(
    signed_in, admin, account
):
    make_message(account.connection)
    account.connection.messages.update(mailbox=account.mailbox)
    client = signed_in(admin)
    path = f"/mailboxes/{account.mailbox.pk}/delete/"
    assert "1 held message is cancelled" in text_of(client.get(path))
    wrong = client.post(path, {"address": "support"})
    assert wrong.status_code == 422
    assert account.asked("DELETE", "") == 0
    # Also where the answer was lost: a read confirms it.
    account.gateway.lost.add(("DELETE", f"/mailboxes/{account.world.mailbox.pk}"))
    assert client.post(path, {"address": "Support@ACME.example"}).status_code == 302
    assert not GatewayMailbox.objects.get().is_active
    assert not account.mailbox.is_active
    assert recorded_actions()[-1] == "mailbox.deleted"


def test_mailbox_is_neither_made_nor_deleted_by_an_admin_of_another_account_or_of_that_mailbox_alone(
    signed_in, account
):
    box = account.mailbox
    other = make_connection("other", admin_key="mm_live_x")
    stranger = make_person("y@yourteam.example", "Y", "admin", connection=other)
    assert signed_in(stranger).post("/mailboxes/add/", new(account)).status_code == 422
    keeper = make_person("k@yourteam.example", "K", "admin", mailbox=box)
    path = f"/mailboxes/{box.pk}/delete/"
    typed = {"address": box.address}
    assert signed_in(keeper).post(path, typed).status_code == 403
    assert account.gateway.calls == []
