"""Bad input and faults of a hosted MultiMail: nothing is lost or leaves twice, and a
sentence says what is wrong.
"""

import pytest
from django.db.models import F
from django.db.models.functions import Now

from approvals.decisions.withdraw import confirm_approval
from approvals.intake.unsigned import store_day_counts
from approvals.models import Decision
from approvals.reconcile import reads
from approvals.reconcile.closing import SETTLE_TIME
from audit.models import Entry
from common.postgres import clock
from mirror.models import Connection, Message, WebhookEvent
from tests.factories import actor_of
from tests.hosted.running import OVERSIGHT, hosted
from tests.integration.deciding import decide
from tests.integration.hosted_desk import hosted_desk, text_of

pytestmark = pytest.mark.slow
DECIDE = "/v1/oversight/decide"
PENDING = "/v1/oversight/pending"
tempers = pytest.mark.parametrize("temper", ["strict", "lenient"])


@pytest.fixture(scope="module")
def host():
    with hosted() as standin:
        yield standin


@pytest.fixture
def temper():
    """The temper of a host where the test is not run with each."""
    return "lenient"


@pytest.fixture
def desk(host, temper, request, signed_in, admin, settings):
    """The desk, connected to a host of this temper with the switches that the test
    names.
    """
    host.begin(temper, **getattr(request, "param", {}))
    with hosted_desk(host) as desk:
        settings.PUBLIC_URL = desk.origin
        desk.connect(signed_in(admin))
        yield desk


def hosts(*switches):
    """Run the test against a host with each of these switches."""
    return pytest.mark.parametrize(
        "desk",
        switches,
        indirect=True,
        ids=lambda one: " ".join(map(str, one.values())),
    )


def state_of(message):
    message.refresh_from_db()
    return message.state


@hosts({"ids": "number"}, {"ids": "uuid"}, {"ids": "odd"}, {"ids": "long"})
def test_ids_of_other_shapes_are_held_decided_and_followed(
    desk, client, reviewer, signed_in
):
    upstream_id = desk.host.hold()
    assert desk.take_in(client) == [200]
    desk.read()
    message = Message.objects.get(upstream_id=upstream_id)
    assert "Hello Dana" in desk.page(signed_in(reviewer), message)
    assert desk.decided(message, reviewer).state == "applied"
    assert set(desk.take_in(client)) == {200}
    assert state_of(message) == "delivered"
    assert desk.host.effects(upstream_id) == ["left"]
    # Of one that was decided elsewhere, a read tells.
    other = desk.held()
    desk.host.control(decide={})
    desk.read()
    assert state_of(other) == "delivered"


@hosts(
    {"envelope": "A", "held_word": "pending_approval", "sent_word": "delivered"},
    {"envelope": "B", "held_word": "pending", "sent_word": "approved_and_sent"},
    {"envelope": "C", "held_word": "pending_send_approval", "sent_word": "approved"},
    {"envelope": "D", "held_word": "pending_approval", "sent_word": "completed"},
)
def test_each_dialect_of_states_and_events_is_understood(desk, client, reviewer):
    message = desk.held()
    desk.take_in(client)
    assert state_of(message) == "held"
    # Held still, in whatever words: an outcome in doubt is not taken for decided.
    desk.host.set(breaks_before=1, loses_events=100)
    decision = desk.resolved(desk.decided(message, reviewer))
    assert decision.state == "unknown"
    assert desk.host.effects(message.upstream_id) == []
    assert state_of(message) == "held"
    assert decision.has_been_read_as_held is True
    assert reads.ask_about(message_id=message.pk, now=clock()) == "held"
    desk.host.set(loses_events=0)
    confirm_approval(message=message.public_id, actor=actor_of(reviewer))
    assert desk.carried_out(decision).state == "applied"
    desk.take_in(client)
    desk.read()
    assert state_of(message) == "delivered"
    assert desk.host.effects(message.upstream_id) == ["left"]
    other = desk.held(subject="Decided elsewhere")
    desk.host.set(loses_events=100)
    desk.host.control(decide={})
    desk.read()
    assert state_of(other) == "delivered"


def test_body_of_megabytes_is_shown_and_decided_and_a_list_past_the_limit_says_so(
    desk, reviewer, signed_in, admin
):
    first = desk.held(subject="Before")
    second = desk.held(subject="Large", markdown="A word. " * 400_000)
    assert desk.decided(second, reviewer, "reject", "Too long.").state == "applied"
    assert desk.host.effects(second.upstream_id) == ["rejected"]
    desk.host.set(padding=64 * 1024 * 1024)
    desk.read()
    assert "MultiMail's answer was too large." in desk.connection_page(
        signed_in(admin)
    ).replace("&#x27;", "'")
    assert state_of(first) == "held"
    assert desk.decided(first, reviewer).state == "recorded"
    desk.host.set(padding=0)
    desk.read()
    assert desk.carried_out(Decision.objects.latest("pk")).state == "applied"
    assert desk.host.effects(first.upstream_id) == ["left"]


def test_list_that_never_ends_closes_nothing_and_says_so(
    desk, reviewer, signed_in, admin
):
    message = desk.held()
    desk.host.set(endless=True)
    assert desk.read() == "unreachable"
    assert "list of held messages" in desk.connection_page(signed_in(admin))
    assert len(desk.host.calls(PENDING, "GET")) < 20
    assert state_of(message) == "held"
    assert desk.decided(message, reviewer).state == "recorded"
    desk.host.set(endless=False)
    desk.read()
    assert desk.carried_out(Decision.objects.get()).state == "applied"
    assert desk.host.effects(message.upstream_id) == ["left"]


@hosts({"clock_off": 420.0}, {"clock_off": -420.0})
def test_clock_that_is_off_by_minutes_changes_no_order(desk, client, reviewer):
    message = desk.held()
    assert message.held_at <= clock()
    desk.take_in(client)
    assert desk.decided(message, reviewer).state == "applied"
    desk.take_in(client)
    desk.read()
    assert state_of(message) == "delivered"
    assert desk.host.effects(message.upstream_id) == ["left"]


def test_unknown_events_and_versions_are_kept_and_change_nothing(
    desk, client, signed_in, admin
):
    message = desk.held()
    desk.take_in(client)
    new = {
        "version": "2027-01-01",
        "event": "oversight.pending",
        "data": {"email": {"id": message.upstream_id}},
    }
    for payload in (
        {"type": "email.teleported", "data": {"message_id": message.upstream_id}},
        {
            "type": "email.decided",
            "message_id": message.upstream_id,
            "decision": "perhaps",
        },
        {"version": 9, "kind": "oversight.approved", "id": message.upstream_id},
        new,
    ):
        desk.host.control(emit=payload)
    assert desk.take_in(client) == [200] * 4
    results = WebhookEvent.objects.order_by("pk").values_list("result", flat=True)
    assert [*results][1:] == ["unknown", "unknown", "unknown", "poison"]
    assert state_of(message) == "held"
    assert Message.objects.count() == 1
    assert Entry.objects.filter(action="webhook.unknown").count() == 3


def test_host_that_turns_strict_in_the_middle_of_a_decision_is_asked_again_without_what_it_refuses(
    desk, reviewer
):
    message = desk.held()
    desk.host.before(
        DECIDE, set={"strict": True, "takes_reason": False, "tells_outcome": False}
    )
    assert desk.decided(message, reviewer).state == "applied"
    assert desk.host.effects(message.upstream_id) == ["left"]
    assert desk.host.calls(DECIDE)[-1] == {
        "email_id": message.upstream_id,
        "action": "approve",
    }


@tempers
def test_answer_of_success_that_did_nothing_is_found_by_reading_and_told(
    desk, reviewer, signed_in
):
    message = desk.held()
    desk.host.set(does_nothing=1)
    desk.decided(message, reviewer)
    later(desk)
    page = desk.page(signed_in(reviewer), message)
    assert state_of(message) == "held"
    assert desk.host.effects(message.upstream_id) == []
    assert "Held again, although it was approved by Ana Ferreira" in page


def later(desk):
    """Let more than a settle time pass, and read."""
    for model in (Decision, Message):
        model.objects.update(changed_at=F("changed_at") - SETTLE_TIME * 2)
    desk.read()


def test_key_that_loses_its_scope_between_reading_and_deciding_sends_nothing_and_says_so(
    desk, reviewer, signed_in
):
    message = desk.held()
    desk.host.before(DECIDE, scopes={OVERSIGHT: ["read"]})
    assert desk.decided(message, reviewer).state == "refused"
    page = desk.page(signed_in(reviewer), message)
    assert (
        "Held again: MultiMail answered 403: This key lacks the scope oversight."
        in page
    )
    desk.host.control(scopes={OVERSIGHT: ["oversight"]})
    assert desk.decided(message, reviewer).state == "applied"
    assert desk.host.effects(message.upstream_id) == ["left"]


def test_account_that_is_closed_pauses_the_connection_and_nothing_is_lost(
    desk, reviewer, signed_in, admin
):
    message = desk.held()
    desk.host.set(closed=True)
    desk.read()
    page = desk.connection_page(signed_in(admin))
    assert "is paused: MultiMail answered 403: This account is closed." in page
    decision = decide(message, reviewer).decision
    assert desk.carried_out(decision).state == "recorded"
    assert state_of(message) == "held"
    desk.host.set(closed=False)
    desk.read()
    assert desk.carried_out(decision).state == "applied"
    assert desk.host.effects(message.upstream_id) == ["left"]


@tempers
@hosts({"copies": 3, "holds_events": True})
def test_late_repeated_and_reordered_webhooks_tell_one_story(desk, client, reviewer):
    first = desk.held(subject="First")
    second = desk.held(subject="Second")
    assert desk.decided(first, reviewer).state == "applied"
    desk.host.control(decide={"action": "reject"})
    desk.host.control(release="backwards")
    assert set(desk.take_in(client)) == {200}
    reads.check_reports(connection_id=desk.connection.pk, now=clock())
    desk.read()
    assert state_of(first) == "delivered"
    assert desk.host.effects(first.upstream_id) == ["left"]
    assert state_of(second) == "rejected"
    assert desk.host.effects(second.upstream_id) == ["rejected"]
    assert Message.objects.count() == 2


def test_secret_that_was_rotated_at_the_host_is_told_and_what_was_refused_is_found_by_reading(
    desk, client, signed_in, admin
):
    browser = signed_in(admin)
    desk.host.control(rotate="whsec_of_somebody_else_1234567890")
    upstream_id = desk.host.hold()
    assert desk.take_in(client) == [401]
    store_day_counts()
    assert "1 with a wrong signature in the last day" in desk.connection_page(browser)
    desk.read()
    assert Message.objects.get(upstream_id=upstream_id).state == "held"
    registered = browser.post(f"/connections/{desk.connection.pk}/webhook/register/")
    assert registered.status_code == 302, text_of(registered)
    desk.host.hold(subject="Signed by the new secret")
    assert desk.take_in(client) == [200]


@tempers
def test_limit_of_calls_is_waited_for_and_the_decision_goes_on_after_it(
    desk, reviewer, signed_in, admin
):
    message = desk.held()
    desk.host.set(calls_a_minute=1)
    decision = desk.decided(message, reviewer)
    assert decision.state == "recorded"
    assert desk.host.effects(message.upstream_id) == []
    assert "MultiMail asked the desk to wait until" in desk.connection_page(
        signed_in(admin)
    )
    desk.host.set(calls_a_minute=0)
    Connection.objects.update(wait_until=Now())
    assert desk.carried_out(decision).state == "applied"
    assert desk.host.effects(message.upstream_id) == ["left"]
