"""With second admin on, every act of an admin waits, or its command stands in the short
table of those that tighten.

The walk asks each address of the URL configuration that admins alone may use whether it
takes a form, so a new one is found without being named here; `test_permissions.py`
holds that `tests/doors.py` says truly who may use an address.
"""

import inspect
import re
import sys
from functools import partial, wraps

import pytest
from django.conf import settings as _settings
from django.db import connection as database

from people.models import PendingChange
from people.second_admin.changes import accept
from people.second_admin.registry import COMMANDS
from people.second_admin.tightening import NEVER_WAITS
from tests.acts import AT_MULTIMAIL
from tests.doors import DOORS, A, R
from tests.factories import rolled_back
from tests.integration.multimail_forms import forms_at_multimail, post
from tests.integration.test_second_admin import switch_on
from tests.variants import variants
from tests.walk import Persona, standing_before

pytestmark = pytest.mark.usefixtures("plans_at_once")

# They show something before anything is asked for, or are about changes that wait
# themselves.
NO_COMMANDS = {
    "setup-away",
    "check-ledger",
    "export",
    "ask-second-admin",
    "accept-change",
    "decline-change",
    "change-secret",
}
# The walk does not get as far as their command, for instance because nobody answers as
# MultiMail.
NOT_REACHED = {"add-connection": "add_connection", "connection-address": "set_address"}
# Nobody answers there when they are accepted.
UNANSWERED = {"register-own-webhook", "rotate-own-webhook"}
UNTOLD = {"django_session", "cache", "usersessions_usersession"}


# Where commands of admins stand.
APPS = ("people", "policy", "approvals", "connections", "alerts")


def of_admins():
    """The addresses for admins and not for reviewers, who decide and set nothing up."""
    return {
        name for name, door in DOORS.items() if A in door.roles and R not in door.roles
    }


def takes_a_form(walk, path):
    answer = walk.client.generic("PATCH", path)
    return answer.status_code != 405 or "POST" in answer["Allow"]


@pytest.fixture(autouse=True)
def _digests(db):
    """Prepare the query of `content`: to plan it takes longer than to run it."""
    one = "SELECT '{0}', count(*), sum(hashtextextended(t::text, 0)) FROM {0} AS t"
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        )
        tables = [name for (name,) in cursor.fetchall() if name not in UNTOLD]
        query = " UNION ALL ".join(one.format(name) for name in tables)
        cursor.execute(f"PREPARE digests AS {query}")
        yield
        cursor.execute("DEALLOCATE digests")


def content():
    """A digest of each table."""
    with database.cursor() as cursor:
        cursor.execute("EXECUTE digests")
        return {name: digest for name, *digest in cursor.fetchall()}


def differing(before):
    now = content()
    return {name for name in now if now[name] != before[name]}


@pytest.fixture
def called(monkeypatch):
    """The names of the commands that ran: of those that never wait, and of those that
    can wait, which end before they run where they have to.
    """
    names = set()

    def noting(command):
        name = command.__name__

        @wraps(command)
        def noted(*args, **kwargs):
            names.update({name} & NEVER_WAITS.keys())
            result = command(*args, **kwargs)
            names.add(name)
            return result

        return noted

    watched = {}
    for path, module in list(sys.modules.items()):
        if path.partition(".")[0] in APPS:
            for name, value in list(vars(module).items()):
                if is_command(value):
                    noted = watched.setdefault(value, noting(value))
                    monkeypatch.setattr(module, name, noted)
    return names


def is_command(value):
    if not inspect.isfunction(value) or "views" in value.__module__:
        return False
    if value.__name__ in COMMANDS:
        return inspect.unwrap(value) is inspect.unwrap(COMMANDS[value.__name__].run)
    return value.__name__ in NEVER_WAITS


# Commands of which a call can tighten; every call of the others waits.
MAY_TIGHTEN = frozenset(
    """activate_draft apply_change change_key change_mailbox give_role hold_all reactivate
    remove_factors_of save_calendar save_group set_caps set_desk_settings set_owner
    set_mail_subjects set_person_figures set_role_rule set_second_admin""".split()
)


def what_is_wrong(name, client, second, called, work):
    """Go through one address, and say what should not have happened."""
    before = content()
    called.clear()
    answer = work()
    if answer.streaming or b"Ask a second admin?" not in answer.content:
        if name in NOT_REACHED:
            return (
                ""
                if NOT_REACHED[name] in COMMANDS and answer.status_code >= 400
                else "is reached after all"
            )
        # One that can wait ran to its end: it said that this call only tightens.
        if called & (NEVER_WAITS.keys() | MAY_TIGHTEN):
            return ""
        return f"did not wait, {answer.status_code}: {sorted(called)}"
    if changed := differing(before):
        return f"changed {changed} before anybody asked"
    if called & COMMANDS.keys():
        return f"ran {called}"
    packed = answer.text.partition('name="change" value="')[2].partition('"')[0]
    asked = client.post("/changes/ask/", {"change": packed, "reason": "Because"})
    if asked.status_code != 302:
        return f"cannot be asked for: {asked.status_code}"
    if changed := differing(before) - {
        "people_pendingchange",
        "audit_entry",
        "audit_entrydetail",
        "notices_notice",
    }:
        return f"changed {changed} while it waits"
    change = PendingChange.objects.latest("pk")
    ended = accept(change_id=change.pk, actor=second.actor(surface="web"))
    if name in UNANSWERED or ended.state == "accepted":
        return ""
    return "" if "code" in ended.outcome else f"cannot be accepted: {ended.outcome}"


# The ordinary run tries every fourth of them.
@pytest.mark.parametrize("every", variants([4, 1], 1))
def test_every_act_of_an_admin_waits_or_can_only_tighten(
    client, signed_in, second, called, every
):
    wrong = {}
    walked = set()
    names = sorted(of_admins() - NO_COMMANDS - AT_MULTIMAIL)
    for name, walk in standing_before(client, signed_in, names[::every]):
        walk.become(Persona(A, "everything"))
        path = walk.address(name)
        if not takes_a_form(walk, path):
            continue
        walked.add(name)
        switch_on()
        form = DOORS[name].fields(walk) if DOORS[name].fields else {}
        if found := what_is_wrong(
            name, client, second, called, partial(walk.client.post, path, form)
        ):
            wrong[name] = found
    assert wrong == {}
    assert len(walked) > 50 / every


@pytest.mark.slow
def test_every_act_of_an_admin_at_multimail_waits_or_can_only_tighten(
    signed_in, admin, second, account, monkeypatch, called
):
    client = signed_in(admin)
    wrong = {}
    switch_on()
    walked = set()
    for name, kwargs, form, _ in forms_at_multimail(account, admin, monkeypatch):
        if name == "loosen-mailbox":
            # Looser than it is without the steps before.
            form = {"to": "monitored"}
        walked.add(name)
        with rolled_back():
            found = what_is_wrong(
                name, client, second, called, partial(post, client, name, kwargs, form)
            )
            if found:
                wrong[name] = found
    assert wrong == {}
    assert walked == AT_MULTIMAIL


def test_the_table_is_short_and_each_name_stands_for_a_command_that_does_not_wait():
    assert not NEVER_WAITS.keys() & COMMANDS.keys()
    assert COMMANDS.keys() >= MAY_TIGHTEN
    source = "\n".join(
        path.read_text()
        for app in APPS
        for path in (_settings.BASE_DIR / app).rglob("*.py")
    )
    assert [
        name
        for name in NEVER_WAITS
        if not re.search(rf"^def {name}\(", source, re.MULTILINE)
    ] == []
