"""The pages of mailboxes, on the real gateway: what is shown, making, changing,
tightening, loosening, deleting.
"""

import re

import pytest
from django.template.loader import render_to_string

from audit.models import Entry
from connections.changes import ChangeRefused
from connections.keys import commands as keys
from connections.mailboxes import commands
from connections.mailboxes import commands as mailboxes
from connections.webhooks import commands as webhooks
from gateway.models import Mailbox as GatewayMailbox
from gateway.models import UpgradeRequest
from mirror.errors import ActNotAllowed
from mirror.models import Connection
from mirror.store import stored_content
from mirror.sync.account import read_mailboxes
from mirror.tasks import read_accounts
from people.models import Grant
from rendering.render import render_message
from tests.factories import actor_of, make_message, make_person
from tests.ledger import latest_details
from tests.markup import says


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
        **changed,
    }


# --- what is shown


def test_only_admins_of_a_mailbox_see_its_upgrade_code_and_others_only_their_own(
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
    assert not re.search(f"board@acme.example|{code}", client.get("/mailboxes/").text)
    keeper = make_person("k@yourteam.example", "K", "admin", mailbox=board)
    Grant.objects.create(person=keeper, role="reviewer", mailbox=box)
    assert code not in signed_in(keeper).get("/mailboxes/").text
    keeper.grants.filter(role="admin").update(mailbox=box)
    link = f'href="/mailboxes/{box.pk}/loosen/?to=monitored"'
    says(client.get("/mailboxes/"), 200, code, link)


# The command itself refuses what the page refuses.
COMMANDS = {
    "create": lambda a, by: mailboxes.create_mailbox(
        connection=a.connection,
        actor=by,
        wanted={"address": "x", "oversight_mode": "gated_all"},
    ),
    "change": lambda a, by: mailboxes.change_mailbox(
        mailbox=a.mailbox, actor=by, changes={"display_name": "X"}
    ),
    "delete": lambda a, by: mailboxes.delete_mailbox(mailbox=a.mailbox, actor=by),
    "loosen": lambda a, by: commands.loosen(
        mailbox=a.mailbox, actor=by, target="autonomous"
    ),
    "make a key": lambda a, by: keys.create_key(
        connection=a.connection, actor=by, wanted={}
    ),
    "register a webhook": lambda a, by: webhooks.register_webhook(
        connection=a.connection, actor=by, wanted={}
    ),
}


def test_command_refuses_whoever_is_no_admin_and_asks_nobody(account, reviewer):
    for name, command in COMMANDS.items():
        with pytest.raises(ActNotAllowed, match="Only an admin"):
            command(account, actor_of(reviewer))
        assert account.gateway.calls == [], name
        assert recorded_actions() == [], name


# --- at MultiMail


def test_designed_mail_is_switched_on_the_page_and_named_in_ledger_and_message(
    signed_in, admin, account
):
    client = signed_in(admin)
    box = account.mailbox
    path = f"/mailboxes/{box.pk}/settings/"
    on = settings_of(account, send_as_designed="1")
    assert client.post(path, on).status_code == 302
    assert GatewayMailbox.objects.get().send_as_designed
    loosened = latest_details("mailbox.loosened")
    assert loosened["before"] == "send_as_designed: False"
    assert loosened["after"] == "send_as_designed: True"
    says(client.get("/mailboxes/"), 200, "HTML as designed")
    # A message says it where its recipient may see it differently.
    designed = '<p style="transform:rotate(3deg)">Hi</p>'
    for html, more, is_told in (
        (designed, {}, True),
        (designed, {"simplified": 1}, False),
        ("<p>Hi</p>", {}, False),
    ):
        row = {"mailbox_id": box.upstream_id, "html_body": html, **more}
        message = make_message(account.connection, **row)
        content = stored_content(message.revision)
        shown = {"message": message, "content": content}
        shown["rendered"] = render_message(content)
        strip = render_to_string("approvals/message_page/_strip.html", shown)
        assert ("mailbox sends HTML as designed" in strip) == is_told
    assert client.post(path, settings_of(account)).status_code == 302
    assert latest_details("mailbox.changed")["after"] == "send_as_designed: False"
    # Hosted MultiMail does not know it.
    Connection.objects.update(is_our_gateway=False)
    assert "send_as_designed" not in client.get(f"/mailboxes/{box.pk}/").text
    client.post(path, on)
    assert account.asked("PATCH", "") == 2


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
    assert latest_details("mailbox.loosened")["after"] == "monitored"


# --- making and deleting


def test_code_of_another_request_does_not_set_the_mode_of_that_request(admin, account):
    path = f"/v1/mailboxes/{account.world.mailbox.pk}/request-upgrade"
    account.ask("POST", path, key="agent", json={"target_mode": "autonomous"})
    code = UpgradeRequest.objects.get().code
    with pytest.raises(ChangeRefused):
        mailboxes.loosen(
            mailbox=account.mailbox,
            actor=actor_of(admin),
            target="monitored",
            code=code,
        )
    assert GatewayMailbox.objects.get().oversight_mode == "gated_send"


@pytest.mark.slow
def test_key_that_does_not_list_some_mailboxes_marks_none_as_gone(account, sent_tasks):
    read_accounts()
    assert sent_tasks == [("mirror.tasks.read_account", account.connection.pk)]
    account.ask("POST", "/v1/mailboxes", json={"address_local": "board"})
    limited = {"name": "X", "scopes": ["read"], "mailboxes": ["board@acme.example"]}
    key = account.ask("POST", "/v1/api-keys", json=limited).json()["api_key"]
    here = Connection.objects.filter(pk=account.connection.pk)
    here.update(admin_key="", read_key=key)
    assert read_mailboxes(connection_id=account.connection.pk) == ""
    boxes = account.connection.mailboxes.filter(is_active=True)
    assert {str(box).partition("@")[0] for box in boxes} == {"support", "board"}
