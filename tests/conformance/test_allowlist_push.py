"""The desk brings whom its rules allow to a real gateway. Whatever fails on the way, the
right list arrives.
"""

import threading
from datetime import timedelta

import pytest
from django.db import connection as database
from django.db.models.functions import Now
from django.urls import set_urlconf
from django.utils import timezone

from audit.models import Entry
from mirror.models import Mailbox
from policy.gates import ensure, push_list
from policy.models import AllowEntry, GateList, PolicyVersion
from tests.conformance.tenant import ok
from tests.factories import (
    change_list,
    make_connection,
    make_list,
    make_person,
    reject_others,
)
from tests.faults import wire
from tests.faults.proxy import OTHER, Answer, Proxy
from tests.serving import named
from tests.variants import variants

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
def at(desk):
    """A list of the desk that a rule names, with one entry."""
    at = make_list("northwind.example")
    reject_others(at)
    return at


@pytest.fixture
def change(at):
    """A function that adds to a list of the desk, as an admin does."""
    ida = make_person("ida@yourteam.example", "Ida Lindqvist", "admin")

    def make(*patterns, at=at, **wanted):
        # A change names its page, and this process serves those of the gateway.
        set_urlconf("dashboard.urls")
        change_list(ida, *patterns, at=at, **wanted)

    yield make
    set_urlconf(None)


def push():
    ensure()
    GateList.objects.exclude(due_at=None).update(due_at=Now())
    return push_list(gate_list_id=GateList.objects.get().pk)


def at_gate(tenant):
    listed = tenant.get(f"{tenant.base}/allowlist", key="admin", kind="restriction")
    patterns = sorted(one["pattern"] for one in listed["entries"])
    return listed["mode"], patterns, listed["version"]


def is_there():
    row = GateList.objects.get()
    return row.due_at is None and row.last_error == ""


def pushes():
    return Entry.objects.filter(action="allowlist.pushed").order_by("pk")


def test_gate_refuses_whom_the_rule_rejects_until_the_rule_is_gone(at, change, tenant):
    change("*.fabrikam.example", expires_at=timezone.now() + timedelta(days=3))
    # Stored under older rules for entries: the gate would refuse the whole list.
    AllowEntry.objects.create(allowlist=at, pattern="eve%evil.example@contoso.example")
    assert push() == "pushed"
    assert at_gate(tenant) == (
        "enforce",
        ["*.fabrikam.example", "northwind.example"],
        1,
    )
    assert is_there()
    assert tenant.submit(to=[DANA]).status_code == 202
    refused = ok(tenant.submit(to=["lee@contoso.example"]), 403)
    assert refused["code"] == "recipient_not_allowed"
    fields = pushes().get().detail.fields
    assert fields["list"] == "enforce, 2 entries, version 1"
    assert push() == "not due"
    GateList.objects.bring()
    assert push() == "there already"
    assert pushes().count() == 1
    PolicyVersion.objects.update(state="retired", retired_at=Now())
    GateList.objects.bring()
    assert push() == "pushed"
    assert tenant.submit(to=["lee@contoso.example"]).status_code == 202


def test_mailbox_that_no_rule_is_about_keeps_what_its_gate_has(desk, tenant):
    theirs = {"kind": "restriction", "mode": "enforce", "version": 0, "entries": []}
    ok(tenant.put(f"{tenant.base}/allowlist", **theirs))
    reject_others(make_list(), mailboxes=[0], only_these=True)
    ensure()
    assert not GateList.objects.exists()


FAULTS = {
    "something between": wire.answering(502, b"<html>bad gateway</html>"),
    "answer lost": wire.lose_answer,
}


@pytest.mark.parametrize("method", ["PUT", pytest.param("GET", marks=pytest.mark.slow)])
def test_fault_while_read_or_written_ends_in_the_right_list(
    change, tenant, proxy, method
):
    patterns = ["northwind.example"]
    for number, (name, fault) in enumerate(FAULTS.items()):
        patterns.append(f"n{number}.example")
        change(patterns[-1])

        def at_the_right_call(exchange, fault=fault):
            (fault if exchange.request.method == method else wire.pass_on)(exchange)

        with proxy.fault(at_the_right_call, kind=OTHER):
            assert push() == "not now", name
        assert not is_there(), name
        assert push() in ("pushed", "there already"), name
        assert is_there(), name
        assert at_gate(tenant)[:2] == ("enforce", sorted(patterns)), name
    assert Entry.objects.filter(action="allowlist.push_failed").count() == len(FAULTS)


@pytest.mark.parametrize(
    "entries",
    variants(
        [[{"pattern": "northwind.example", "expires_at": "2099-01-01T00:00:00Z"}], []],
        1,
    ),
    ids=["with an end", "fewer"],
)
def test_narrower_list_of_somebody_else_is_not_widened(change, tenant, entries):
    push()
    narrower = {
        "kind": "restriction", "mode": "enforce", "version": 1, "entries": entries,
    }  # fmt: skip
    ok(tenant.put(f"{tenant.base}/allowlist", **narrower))
    # The list of the desk says more than the gate, or the same without an end.
    change("contoso.example" if not entries else "northwind.example", note="Again")
    assert [push(), push()] == ["not now", "not now"]
    assert "did not make" in GateList.objects.get().last_error
    assert at_gate(tenant) == ("enforce", [one["pattern"] for one in entries], 2)
    ok(
        tenant.put(
            f"{tenant.base}/allowlist", **narrower | {"mode": "off", "version": 2}
        )
    )
    assert push() == "pushed"


@pytest.mark.slow
def test_change_made_while_one_is_pushed_is_pushed_next(change, tenant, proxy):
    def meanwhile(exchange):
        if exchange.request.method == "PUT":
            change("contoso.example")
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


def test_worker_that_slept_overwrites_nothing(change, tenant, proxy):
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
        ensure()
        sleeper.start()
        assert asleep.wait(120)
    change("contoso.example")
    assert push() == "pushed"
    awake.set()
    sleeper.join(120)
    assert results == ["not now"]
    assert at_gate(tenant) == ("enforce", ["contoso.example", "northwind.example"], 1)
    assert is_there()


def _push_in_a_thread():
    try:
        return push()
    finally:
        database.close()
