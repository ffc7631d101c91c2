"""The desk pushes its allowlists to a real gateway. Whatever fails on the way, the
right list arrives.
"""

import io
import threading
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection as database
from django.db.models.functions import Now
from django.urls import set_urlconf
from django.utils import timezone

from audit.models import Entry
from mirror.models import Mailbox
from policy.allowlists.changes import Change, WantedEntry, apply_change
from policy.allowlists.gates import push_list
from policy.allowlists.judgement import ListScope
from policy.models import AllowEntry, Allowlist, GateList
from tests.conformance.tenant import ok
from tests.factories import change_row, make_connection, make_person
from tests.faults import wire
from tests.faults.proxy import OTHER, Answer, Proxy
from tests.serving import named

# The gateway answers in a thread of the proxy, with its own database session.
pytestmark = pytest.mark.django_db(transaction=True)

DANA = "dana@northwind.example"


class InProcess(Proxy):
    """A proxy that hands requests to the gateway in this process."""

    def __init__(self, gateway):
        super().__init__()
        self._gateway = gateway

    def ask_gateway(self, request):
        try:
            headers = {
                name: text
                for name, text in request.headers.items()
                if name not in ("host", "content-length")
            }
            headers["Content-Type"] = headers.pop("content-type", "")
            answer = self._gateway.call(
                request.method, request.path, data=request.body, headers=headers
            )
            return Answer(answer.status_code, answer.content, dict(answer.headers))
        finally:
            database.close()


@pytest.fixture
def proxy(gateway):
    """The proxy between the desk and the gateway."""
    between = InProcess(gateway)
    between.serve("")
    with named(between.url):
        yield between
    between.close()


@pytest.fixture
def desk(tenant, proxy):
    """A connection to the tenant's account, through the proxy."""
    connection = make_connection(api_url=proxy.url, admin_key=tenant.keys["admin"])
    Mailbox.objects.filter(connection=connection).update(
        upstream_id=tenant.mailbox, address=tenant.address
    )
    return connection


@pytest.fixture
def change(desk):
    """A function that changes a list of the desk, as an admin does."""
    ida = make_person("ida@yourteam.example", "Ida Lindqvist", "admin")
    actor = ida.actor(surface="web")

    def make(
        pattern, mode="enforce", scope=None, kind="restriction", version=0, **wanted
    ):
        # A change names its page, and this process serves those of the gateway.
        set_urlconf("dashboard.urls")
        return apply_change(
            scope=scope or ListScope(),
            kind=kind,
            change=Change(mode=mode, put=(WantedEntry(pattern, **wanted),)),
            version=version,
            actor=actor,
        )

    yield make
    set_urlconf(None)


def push(*, kind="restriction", **options):
    GateList.objects.ensure()
    gate = GateList.objects.get(kind=kind)
    change_row(gate, next_attempt_at=Now())
    return push_list(gate_list_id=gate.pk, **options)


def at_gate(tenant, kind="restriction"):
    listed = tenant.get(f"{tenant.base}/allowlist", key="admin", kind=kind)
    return (
        listed["mode"],
        sorted(one["pattern"] for one in listed["entries"]),
        listed["version"],
    )


def code_for(tenant):
    output = io.StringIO()
    call_command("gateway_codes", stdout=output)
    [code] = [
        line.split()[0]
        for line in output.getvalue().splitlines()
        if tenant.address in line
    ]
    return code


def gate_row():
    return GateList.objects.get(kind="restriction")


def is_there():
    row = gate_row()
    return row.pushed == row.wanted and row.last_error == ""


def pushes():
    return Entry.objects.filter(action="allowlist.pushed").order_by("pk")


def test_lists_of_all_connection_and_mailbox_stand_at_the_gate_as_one_and_it_judges_by_it(
    desk, change, tenant
):
    mailbox = desk.mailboxes.get()
    change("northwind.example", mode="monitor")
    change(
        "*.fabrikam.example",
        scope=ListScope(connection=desk.pk),
        note="the\nfair",
    )
    change("lee@contoso.example", scope=ListScope(mailbox=mailbox.pk), mode="off")
    ended = timezone.now() - timedelta(seconds=1)
    change("ended.example", mode="monitor", version=1, expires_at=ended)
    assert push() == "pushed"
    assert at_gate(tenant) == (
        "enforce",
        ["*.fabrikam.example", "northwind.example"],
        1,
    )
    assert is_there()
    assert tenant.submit(to=[DANA]).status_code == 202
    assert (
        ok(tenant.submit(to=["lee@contoso.example"]), 403)["code"]
        == "recipient_not_allowed"
    )
    assert (
        pushes().get().detail.fields["list"]
        == "restriction, enforce, 2 entries, version 1"
    )
    assert push() == "not due"


def test_entry_that_would_be_refused_today_stays_out_of_the_list_at_the_gate(
    change, tenant
):
    change("northwind.example")
    lists = Allowlist.objects.get(kind="restriction")
    AllowEntry.objects.create(
        allowlist=lists, pattern="eve%evil.example@northwind.example"
    )
    assert push() == "pushed"
    assert at_gate(tenant) == ("enforce", ["northwind.example"], 1)


@pytest.mark.slow
def test_bypass_on_trial_lets_nobody_skip_because_another_is_in_force(
    desk, change, tenant
):
    change("tried.example", mode="monitor", kind="bypass")
    change(
        "northwind.example",
        scope=ListScope(connection=desk.pk),
        kind="bypass",
    )
    assert push(kind="bypass") == "waits for a code"
    assert push(kind="bypass", approval_code="wrong") == "not now"
    assert push(kind="bypass", approval_code=code_for(tenant)) == "pushed"
    assert at_gate(tenant, "bypass") == ("enforce", ["northwind.example"], 1)


FAULTS = {
    "something between": wire.answering(502, b"<html>bad gateway</html>"),
    "answer lost": wire.lose_answer,
}


@pytest.mark.parametrize("method", ["PUT", pytest.param("GET", marks=pytest.mark.slow)])
def test_fault_while_read_or_written_ends_in_the_right_list(
    change, tenant, proxy, method
):
    patterns = []
    for number, (name, fault) in enumerate(FAULTS.items()):
        patterns.append(f"n{number}.example")
        change(patterns[-1], version=number)

        def at_the_right_call(exchange, fault=fault):
            (fault if exchange.request.method == method else wire.pass_on)(exchange)

        with proxy.fault(at_the_right_call, kind=OTHER):
            assert push() == "not now", name
        assert not is_there(), name
        assert gate_row().lease_until is None, name
        assert push() in ("pushed", "there already"), name
        assert is_there(), name
        assert at_gate(tenant)[:2] == ("enforce", patterns), name
    assert Entry.objects.filter(action="allowlist.push_failed").count() == len(FAULTS)


@pytest.mark.slow
def test_somebody_elses_change_is_pushed_over_and_the_ledger_says_so(change, tenant):
    change("northwind.example")
    push()
    theirs = {
        "kind": "restriction",
        "mode": "off",
        "version": 1,
        "entries": ["evil.example"],
    }
    ok(tenant.put(f"{tenant.base}/allowlist", **theirs))
    change("contoso.example", version=1)
    assert push() == "pushed"
    assert at_gate(tenant) == ("enforce", ["contoso.example", "northwind.example"], 3)
    assert (
        "Somebody else had changed it" in pushes().last().detail.fields["explanation"]
    )
    assert "explanation" not in pushes().first().detail.fields


@pytest.mark.slow
def test_change_between_read_and_write_is_pushed_over_too(change, tenant, proxy):
    change("northwind.example")
    theirs = {
        "kind": "restriction",
        "mode": "monitor",
        "version": 0,
        "entries": ["evil.example"],
    }

    def meddle(exchange):
        if exchange.request.method == "PUT":
            ok(tenant.put(f"{tenant.base}/allowlist", **theirs))
        wire.pass_on(exchange)

    with proxy.fault(meddle, kind=OTHER, times=2):
        assert push() == "pushed"
    assert at_gate(tenant) == ("enforce", ["northwind.example"], 2)
    assert "at the same moment" in pushes().get().detail.fields["explanation"]


@pytest.mark.slow
def test_change_made_while_one_is_pushed_is_pushed_next(change, tenant, proxy):
    change("northwind.example")

    def meanwhile(exchange):
        if exchange.request.method == "PUT":
            change("contoso.example", version=1)
            # Runs in the proxy's thread.
            database.close()
        wire.pass_on(exchange)

    with proxy.fault(meanwhile, kind=OTHER, times=2):
        push()
    assert not is_there()
    assert at_gate(tenant)[1] == ["northwind.example"]
    push()
    assert at_gate(tenant)[1] == ["contoso.example", "northwind.example"]
    assert is_there()


def test_worker_that_slept_past_its_lease_overwrites_nothing(change, tenant, proxy):
    change("northwind.example")
    asleep = threading.Event()
    awake = threading.Event()

    def sleep(exchange):
        if exchange.request.method == "PUT":
            asleep.set()
            assert awake.wait(120)
        wire.pass_on(exchange)

    results = []
    with proxy.fault(sleep, kind=OTHER, times=2):
        sleeper = threading.Thread(target=lambda: results.append(_push_in_a_thread()))
        GateList.objects.ensure()
        sleeper.start()
        assert asleep.wait(120)
    GateList.objects.update(lease_until=Now() - timedelta(seconds=1))
    change("contoso.example", version=1)
    assert push() == "pushed"
    awake.set()
    sleeper.join(120)
    assert results == ["not due"]
    assert at_gate(tenant) == ("enforce", ["contoso.example", "northwind.example"], 1)
    assert is_there()
    assert pushes().count() == 1


def _push_in_a_thread():
    try:
        return push()
    finally:
        database.close()
