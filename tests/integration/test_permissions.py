"""Requests every address in every role: allowed roles succeed, all others fail and
change nothing.

The addresses stand in `tests/doors.py`; one that is not there fails here.
"""

import copy
import re
from datetime import timedelta
from functools import cache

import pytest
from django.db import connection as database
from django.db.models.functions import Now

from approvals.models import Decision
from dashboard.celery import app as celery
from mirror.models import Mailbox
from people.models import Grant
from policy.models import KeyOwner, KillSwitch
from tests.acts import (
    AT_MULTIMAIL,
    NO_ACTS,
    PROVED,
    READS,
    last_entry,
    told_since,
    what_told_lacks,
)
from tests.doors import DOORS, TASKS
from tests.factories import (
    change_row,
    make_connection,
    make_list,
    make_message,
    make_person,
    pending_row,
    reject_others,
    rolled_back,
)
from tests.integration.deciding import decide, make_due
from tests.permission_table import TABLE, addresses, text
from tests.walk import (
    BARE,
    FRAMED,
    NOBODY,
    PATHS,
    POST_ONLY,
    SIGNED_OUT,
    SOMEBODY,
    Persona,
    check_headers,
    go_through,
    may,
    takes_a_form,
    walks,
    what_it_wrongly_takes,
)

PARTS = 4
# Written by any request: sessions, rate counters, and entries about refusals and page
# views.
UNTOLD = (
    "django_session",
    "cache",
    "usersessions_usersession",
    "audit_entry",
    "audit_entrydetail",
)
NOTED = (
    "('verdict.refused', 'act.refused', 'message.served', 'attachment.served', 'thread.opened',"
    " 'message.opened', 'bulk.decided', 'ledger.seen_again')"
)
# Content of others, served with its own policy.
SANDBOXED = {
    *"""
    edit-preview picture-view message-body message-original seen-body file-view
    file-page file-download
""".split()
}
# Subresources of a page.
LOADS = r"""<(?:script|link|img|iframe|use|source|video)\b[^>]*?(?:src|href)=["']?([^"'\s>]+)"""


def written():
    """The number of rows written per table in this transaction, and of entries about
    actions in the ledger.
    """
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT relname, pg_stat_get_xact_tuples_inserted(oid) + pg_stat_get_xact_tuples_updated(oid)"
            " + pg_stat_get_xact_tuples_deleted(oid) FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            f" UNION ALL SELECT 'the ledger', count(*) FROM audit_entry WHERE action NOT IN {NOTED}"
        )
        return {
            name: number for name, number in cursor.fetchall() if name not in UNTOLD
        }


def test_every_address_has_a_door_and_every_door_an_address():
    assert sorted(DOORS) == sorted(name for name, _ in addresses())


def narrowest(door):
    """People with the minimal role: own things are viewed from elsewhere, and changed
    where the role covers all.
    """
    if door.reach == "own":
        return Persona(door.roles[0], "everything" if door.fields else "elsewhere")
    return [one for one in SOMEBODY if may(one, door)][-1]


def one_who_may_and_one_who_may_not(door):
    """Of the refused people, the closest ones: the right role in another scope."""
    refused = [one for one in SOMEBODY if not may(one, door)]
    refused.sort(key=lambda one: (one.role not in door.roles, one.reach != "elsewhere"))
    return (SIGNED_OUT, narrowest(door), *refused[:1])


def the_others_who_try_differently(door):
    """A role without the right fails in any scope; pages that only show something need
    one test for all.
    """
    alike = ("connection", "mailbox") if door.fields else ()
    mine = [
        one
        for one in SOMEBODY
        if one.role in door.roles and one.reach in ("everything", "elsewhere", *alike)
    ]
    others = [
        one
        for one in SOMEBODY
        if one.role not in door.roles and one.reach == "everything"
    ]
    before = one_who_may_and_one_who_may_not(door)
    return [one for one in (NOBODY, *mine, *others) if one not in before]


# In parts, so that several processes share the walk.
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize(
    "who_try",
    [
        one_who_may_and_one_who_may_not,
        pytest.param(the_others_who_try_differently, marks=pytest.mark.slow),
    ],
)
def test_whoever_may_gets_through_and_nobody_else(
    who_try, part, client, signed_in, monkeypatch
):
    """Also check what every page has, that viewing changes nothing, and that changes
    are in the ledger.
    """
    # Recovery codes are hashed slowly by design; test_second_factor.py tests that.
    monkeypatch.setattr(
        "people.sign_in.factors._digest", lambda code, salt: f"scrypt${salt}${code}"
    )
    # Refusals are not recorded here; test_ledger_entries.py tests that.
    monkeypatch.setattr(
        "dashboard.frame.middleware.note_denied", lambda request, status: None
    )
    wrong = {}
    for name, persona, minutes, walk in tries(client, signed_in, who_try, part):
        if found := [one for one in what_is_wrong(walk, name, persona, minutes) if one]:
            wrong[f"{persona} at {name}, {minutes} minutes after signing in"] = found
    assert wrong == {}


def tries(client, signed_in, who_try, part):
    """Yield each address of a part with the person and the time since their sign-in;
    their changes are undone.
    """
    names = [name for name in DOORS if DOORS[name].reach not in ("public", "host")]
    # Those that need the same rows are together.
    names.sort(key=lambda name: DOORS[name].needs)
    size = -(-len(names) // PARTS)
    names = names[part * size : (part + 1) * size]
    for walk, alike in walks(client, signed_in, names):
        for name, persona in [
            (one, persona) for one in alike for persona in who_try(DOORS[one])
        ]:
            for minutes in (
                (0, 11) if DOORS[name].sure and may(persona, DOORS[name]) else (0,)
            ):
                with rolled_back():
                    walk.become(persona, minutes)
                    yield name, persona, minutes, copy.copy(walk)


def what_is_wrong(walk, name, persona, minutes):
    """Request an address, and yield what is wrong with the result."""
    door = DOORS[name]
    path = walk.address(name)
    gets_through = may(persona, door) and not minutes
    if gets_through:
        if persona == narrowest(door):
            yield what_it_wrongly_takes(walk, name)
        if door.writes and door.fields and name not in POST_ONLY:
            # A post there redirects: this is its page.
            yield what_is_wrong_with_page(name, walk.client.get(path))
    before = written()
    last = last_entry()
    answer = go_through(walk, door, name, path)
    changed = sorted(
        table for table, number in written().items() if before.get(table, 0) != number
    )
    came = f"{answer.status_code} {answer.get('Location', '')}"
    if not gets_through:
        yield (
            not is_refused(door, name, persona, minutes, answer)
            and f"let through: {came}"
        )
        yield changed and f"wrote {changed}"
    else:
        # The form may be incomplete, and MultiMail is unreachable: the form says so to
        # whoever may use it.
        if answer.status_code in (403, 404, 500) or answer.get(
            "Location", ""
        ).startswith("/accounts/"):
            yield f"refused: {came}"
        yield door.writes and not changed and f"nothing was written: {came}"
        yield what_is_wrong_with_page(name, answer)
        if persona == narrowest(door):
            yield from what_is_wrong_with_entries(name, told_since(last))
    if persona.reach == "elsewhere":
        pages = [answer.getvalue()]
        if "HX-Request" in answer.get("Vary", ""):
            pages.append(
                walk.client.get(path, headers={"HX-Request": "true"}).getvalue()
            )
        yield (
            any(walk.message.subject.encode() in page for page in pages)
            and "tells of a message elsewhere"
        )


def is_refused(door, name, persona, minutes, answer):
    status = answer.status_code
    target = answer.get("Location", "")
    if not persona.is_signed_in:
        return status == 302 and target.startswith("/accounts/login/?next")
    if minutes:
        return status == 302 and target.startswith("/accounts/reauthenticate/")
    # A person with a role in another scope does not even learn that the row exists.
    is_hidden = (
        persona.reach in ("", "elsewhere")
        and "<" in PATHS[name]
        and door.reach in ("mailbox", "connection")
    )
    if door.covers:
        # Whoever lost the role is told why on the page of their changes.
        return status in (403, 409)
    return status in (
        (404,) if is_hidden else (302, 403, 404, 422) if door.is_gentle else (403, 404)
    )


def what_is_wrong_with_entries(name, recorded):
    """Yield which entries the ledger lacks for the action."""
    if name in READS and READS[name] not in [line.action for line in recorded]:
        yield f"no {READS[name]}"
    if (takes_a_form(name) or name in READS) and name not in {
        *NO_ACTS,
        *PROVED,
        *AT_MULTIMAIL,
    }:
        yield from what_told_lacks(recorded)


def what_is_wrong_with_page(name, answer):
    """Return the parts of every page that this page lacks."""
    check_headers(answer, is_frame=name in SANDBOXED and answer.status_code == 200)
    page = answer.getvalue()
    # In JSON the quotes of its markup are escaped.
    loads = re.findall(LOADS, page.decode(errors="replace").replace('\\"', '"'))
    if strange := [
        load
        for load in loads
        if not load.startswith(
            ("/static/", "/queue/", "data:", "#", "/manifest.webmanifest")
        )
    ]:
        return f"loads {strange}"
    if answer.status_code == 200 and b"<html" in page and name not in FRAMED | BARE:
        # The time as of which the queue is complete, and what the kill switch stops.
        return (page.count(b'id="fresh"'), page.count(b'id="stopped"')) != (
            1,
            1,
        ) and "no line of freshness"
    return ""


@cache
def tasks():
    celery.loader.import_default_modules()
    return celery.tasks


OUR_APPS = (
    "approvals",
    "alerts",
    "audit",
    "dashboard",
    "mirror",
    "notices",
    "policy",
    "people",
)


def test_every_task_has_a_line():
    ours = {name for name in tasks() if name.split(".")[0] in OUR_APPS}
    assert ours == set(TASKS)


def nothing_ends(message, person):
    """The control."""


def withdraw_the_role(message, person):
    Grant.objects.filter(person=person).delete()


def deactivate_the_person(message, person):
    change_row(person, is_active=False)


def end_the_list(message, person):
    reject_others(make_list(), mailboxes=[message.mailbox_id], only_these=True)


def let_it_expire(message, person):
    change_row(message, expires_at=Now() - timedelta(minutes=1))


def own_the_key(message, person):
    change_row(message, sent_by_key=own_the_key.__name__)
    KeyOwner.objects.create(
        connection=message.connection,
        upstream_key_id=own_the_key.__name__,
        person=person,
    )


def pull_the_switch(message, person):
    KillSwitch.objects.create(mailbox=message.mailbox, reason="Wait", pulled_by=person)


ENDS = (
    *(withdraw_the_role, deactivate_the_person, end_the_list),
    *(let_it_expire, own_the_key, pull_the_switch),
)


def test_no_task_carries_out_what_may_not_be_decided_any_more(upstream):
    """A control: the tasks have everything they need; where nothing has ended, the
    decision is executed.
    """
    connection = make_connection(api_url=upstream.url)
    cases = {
        end.__name__: decided_and_ended(connection, end)
        for end in (nothing_ends, *ENDS)
    }
    make_due()
    upstream.holds(*[row for _, row in cases.values()])
    made = [decision for decision, _ in cases.values()]
    messages = [decision.message for decision in made]
    arguments = {
        ("execute_decision", "resolve_decision"): [decision.pk for decision in made],
        ("hydrate", "ask_about", "freshen_thread"): [
            message.pk for message in messages
        ],
        ("read_connection", "read_account"): [connection.pk],
    }
    for name in sorted(TASKS):
        task = tasks()[name]
        last = name.rpartition(".")[2]
        for argument in [
            one for names, some in arguments.items() if last in names for one in some
        ]:
            task.run(argument)
        if last == "tick":
            task.run("approvals.tasks.sweep", 1)
        elif last in (
            "sweep",
            "execute_due",
            "forget",
            "reconcile_all",
            "read_accounts",
        ):
            task.run()
    approved = [
        one["email_id"] for one in upstream.decisions if one["action"] == "approve"
    ]
    assert [name for name, (_, row) in cases.items() if row["id"] in approved] == [
        "nothing_ends"
    ]
    assert len(approved) == 1
    # All were judged: what the kill switch stops waits, and the others are refused.
    waiting = set(
        Decision.objects.filter(state="recorded").values_list("pk", flat=True)
    )
    assert [
        name for name, (decision, _) in cases.items() if decision.pk in waiting
    ] == ["pull_the_switch"]


def decided_and_ended(connection, end):
    """An approval in a mailbox of its own by somebody who approved nothing else, and
    what MultiMail holds of it.
    """
    address = f"{end.__name__}@yourteam.example"
    box = {"mailbox_id": f"01{end.__name__}", "mailbox": address}
    Mailbox.objects.create(
        connection=connection, upstream_id=box["mailbox_id"], address=address
    )
    message = make_message(connection, sent_by_key=end.__name__, **box)
    person = make_person(address, end.__name__, "reviewer")
    made = decide(message, person).decision
    message.refresh_from_db()
    assert message.mailbox.address == address
    end(message, person)
    return made, pending_row(message.upstream_id, sent_by_key=end.__name__, **box)


def test_document_is_what_the_doors_say(pytestconfig):
    if pytestconfig.getoption("write_permissions"):
        TABLE.write_text(text())
    command = "./run test tests/integration/test_permissions.py -k document --write-permissions"
    assert TABLE.read_text() == text(), f"write it again: {command}"
