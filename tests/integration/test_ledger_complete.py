"""Ledger entries that `test_permissions.py` does not cover: accounts at MultiMail,
tasks, and the lists.
"""

from datetime import timedelta

import pytest
from django.conf import settings as _settings
from django.db.models.functions import Now

from audit.actions import SETTINGS
from mirror.models import Mailbox
from policy.models import GateList
from tests.acts import (
    AT_MULTIMAIL,
    NO_ACTS,
    PROVED,
    PROVED_TASKS,
    QUIET_TASKS,
    READS,
    last_entry,
    told_since,
    what_told_lacks,
)
from tests.doors import DOORS, TASKS
from tests.factories import change_row, make_connection, make_message, rolled_back
from tests.integration.deciding import decide
from tests.integration.multimail_forms import forms_at_multimail, post
from tests.integration.test_permissions import tasks

HERE = _settings.BASE_DIR / "tests" / "integration"


def test_every_url_that_changes_an_account_at_multimail_leaves_an_entry(
    signed_in, admin, account, monkeypatch
):
    client = signed_in(admin)
    forms = forms_at_multimail(account, admin, monkeypatch)
    assert {name for name, *_ in forms} == AT_MULTIMAIL
    wrong = {}
    for name, kwargs, form, action in forms:
        last = last_entry()
        answer = post(client, name, kwargs, form)
        lines = told_since(last)
        # The request is recorded before the call, and its outcome after it.
        if [line.action for line in lines if line.actor_kind == "person"][-1:] != [
            action
        ]:
            wrong[name] = (answer.status_code, [line.action for line in lines])
        elif found := list(what_told_lacks(lines)):
            wrong[name] = found
    assert wrong == {}


# --- tasks


@pytest.fixture
def connection(upstream):
    return make_connection(
        api_url=upstream.url, admin_key="mm_live_admin", read_key="mm_live_read"
    )


def list_not_pushed(connection, upstream, reviewer):
    gate = GateList.objects.create(mailbox=connection.mailboxes.get())
    return gate.pk, "allowlist.push_failed"


def mailbox_set_elsewhere(connection, upstream, reviewer):
    Mailbox.objects.filter(connection=connection).update(
        mirrored_at=Now(), oversight_mode="gated_all"
    )
    row = {
        "id": "01MAILBOX",
        "address": "support@yourteam.example",
        "oversight_mode": "autonomous",
    }
    upstream.answers["/v1/mailboxes"] = (200, {"mailboxes": [row]})
    return connection.pk, "mailbox.seen_looser"


def resolved(connection, upstream, reviewer):
    message = make_message(connection)
    made = decide(message, reviewer).decision
    doubt = {
        "state": "unknown",
        "attempt": 1,
        "may_have_left": True,
        "changed_at": Now() - timedelta(seconds=3),
    }
    change_row(made, **doubt)
    upstream.holds(
        status="approved",
        decision="approved",
        decided_by="Key desk",
        reason=made.reference,
    )
    return made.pk, "decision.applied"


WORK = {
    "policy.tasks.push_list": list_not_pushed,
    "mirror.tasks.read_account": mailbox_set_elsewhere,
    "approvals.tasks.resolve_decision": resolved,
}


def test_every_task_is_in_one_of_the_lists():
    for name in TASKS:
        assert [name in known for known in (WORK, QUIET_TASKS, PROVED_TASKS)].count(
            True
        ) == 1, name
    assert {*WORK, *QUIET_TASKS, *PROVED_TASKS} <= set(TASKS)


def test_tasks_leave_entries(connection, upstream, reviewer):
    for name, work in WORK.items():
        with rolled_back():
            upstream.forget()
            row, action = work(connection, upstream, reviewer)
            last = last_entry()
            tasks()[name].run(*([row] if row is not None else []))
            lines = told_since(last)
            assert action in [line.action for line in lines], name
            for line in lines:
                assert line.surface == "worker", name
                assert line.actor_kind in ("worker", "rule", "webhook"), name
                assert not SETTINGS & {line.action} or {"before", "after"} <= set(
                    line.details
                ), name


# --- the lists themselves


def test_tests_named_in_the_lists_exist():
    assert {*NO_ACTS, *PROVED, *READS, *AT_MULTIMAIL} <= set(DOORS)
    for reference in (*PROVED.values(), *PROVED_TASKS.values()):
        file, _, test = reference.partition("::")
        text = (HERE / file).read_text()
        assert not test or f"def {test}(" in text, reference
        looks = ("Entry", "told(", "actions(", "latest_details(")
        assert any(one in text for one in looks), reference
