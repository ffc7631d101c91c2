"""The desk's main journeys against a hosted MultiMail that shares no code with us, in
both of its tempers, and what goes wrong there.

What left is read from the stand-in's own ledger. The ordinary run has the strict host;
`--all` has both.
"""

import pytest
from django.db.models import F

from approvals.decisions.withdraw import confirm_approval
from approvals.intake.unsigned import store_day_counts
from approvals.models import Decision
from approvals.reconcile import reads
from approvals.reconcile.closing import SETTLE_TIME
from common.postgres import clock
from mirror.models import Connection, Message
from tests.factories import actor_of
from tests.hosted.running import OVERSIGHT, hosted
from tests.integration.deciding import decide
from tests.integration.hosted_desk import hosted_desk, text_of

LENIENT = pytest.param("lenient", marks=pytest.mark.slow)
tempers = pytest.mark.parametrize("temper", ["strict", LENIENT])
DECIDE = "/v1/oversight/decide"


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
    """The desk, connected by its pages to a host of this temper, with the switches that
    the test names.
    """
    host.begin(temper, **getattr(request, "param", {}))
    with hosted_desk(host) as desk:
        settings.PUBLIC_URL = desk.origin
        desk.connect(signed_in(admin))
        yield desk


def hosts(*switches):
    """Run the test against a host with each of these switches."""
    return pytest.mark.parametrize("desk", switches, indirect=True, ids=str)


def state_of(message):
    message.refresh_from_db()
    return message.state


@tempers
def test_held_message_is_seen_and_approved_leaves_once_and_is_shown_as_delivered(
    desk, client, reviewer, signed_in
):
    host = desk.host
    [hook] = host.shown["webhooks"]
    assert hook["secret"] == desk.connection.webhook_secret
    assert desk.connection.is_our_gateway is False
    upstream_id = host.hold(cc=["eve@northwind.example"])
    assert desk.take_in(client) == [200]
    message = Message.objects.get(upstream_id=upstream_id)
    assert message.hydrated_at is None
    assert desk.read() == "1 held"
    page = desk.page(signed_in(reviewer), message)
    assert "Hello Dana" in page
    # The strict host's list has no Cc; the read key shows it.
    assert "eve@northwind.example" in page
    # Looking decided nothing.
    assert host.calls(DECIDE) == []
    assert desk.decided(message, reviewer).state == "applied"
    assert set(desk.take_in(client)) == {200}
    desk.read()
    assert state_of(message) == "delivered"
    assert "Delivered. Approved by Ana Ferreira" in desk.page(client, message)
    assert host.effects(upstream_id) == ["left"]


@pytest.mark.slow
@tempers
def test_rejection_and_request_for_changes_reach_the_sender_or_say_that_their_words_did_not(
    desk, temper, reviewer, signed_in
):
    for outcome in ("reject", "send_back"):
        message = desk.held(subject=outcome)
        decision = desk.decided(message, reviewer, outcome, "The amount is wrong.")
        assert decision.state == "applied"
        assert desk.host.effects(message.upstream_id) == ["rejected"]
        desk.read()
        reason = desk.host.shown["effects"][-1]["reason"]
        if temper == "strict":
            assert reason == ""
            page = desk.page(signed_in(reviewer), message)
            assert "the sender was not told" in page
        else:
            assert reason.startswith("The amount is wrong. (Ana Ferreira")


@tempers
def test_content_that_changed_after_it_was_read_does_not_leave(
    desk, reviewer, signed_in
):
    message = desk.held()
    decision = decide(message, reviewer).decision
    changed = {"id": message.upstream_id, "markdown": "Please pay somebody else."}
    desk.host.control(edit=changed)
    assert desk.carried_out(decision).state == "refused"
    assert "no longer the one that was read" in decision.explanation
    assert desk.host.calls(DECIDE) == []
    desk.read()
    assert "Please pay somebody else" in desk.page(signed_in(reviewer), message)
    assert desk.decided(message, reviewer).state == "applied"
    assert desk.host.effects(message.upstream_id) == ["left"]


@pytest.mark.slow
@tempers
def test_burst_of_decisions_elsewhere_is_mirrored_and_named_and_ours_among_them_is_not_sent(
    desk, client, reviewer, signed_in
):
    for number in range(12):
        desk.host.hold(subject=f"Letter {number}", markdown=f"Letter {number}")
    assert desk.read() == "12 held"
    first = Message.objects.get(subject="Letter 0")
    decision = decide(first, reviewer).decision
    desk.host.control(decide={})
    assert desk.carried_out(decision).state == "superseded"
    desk.take_in(client)
    for _ in range(2):
        desk.read()
    # The sweep asks about what only absence had closed.
    reads.ask_about(message_id=first.pk, now=clock())
    assert {one.state for one in Message.objects.all()} == {"delivered"}
    assert desk.host.calls(DECIDE) == []
    page = desk.page(signed_in(reviewer), Message.objects.get(subject="Letter 1"))
    assert "outside this desk by kim@elsewhere.example" in page
    assert "decided elsewhere; this desk had sent nothing" in desk.page(client, first)


@tempers
def test_outcome_that_was_not_told_is_found_by_reading_and_nothing_leaves_twice(
    desk, temper, reviewer, signed_in
):
    # A host that would send again what is approved again.
    message = desk.held()
    desk.decided(
        desk.held(subject="It teaches the desk which fields are taken"), reviewer
    )
    desk.host.set(breaks_after=1, repeats=True, loses_events=100)
    decision = desk.decided(message, reviewer)
    assert decision.state == "unknown"
    state = desk.resolved(decision).state
    assert desk.host.effects(message.upstream_id) == ["left"]
    assert state_of(message) == "delivered"
    # The strict host refuses the reason, and with it our reference.
    page = desk.page(signed_in(reviewer), message)
    if temper == "strict":
        assert state == "unattributed"
        assert "whether it was by this decision is not known" in page
    else:
        assert state == "applied"


@pytest.mark.slow
@tempers
def test_outcome_that_no_read_can_tell_ends_as_unattributed_and_the_page_says_so(
    desk, temper, reviewer, signed_in
):
    Connection.objects.update(read_key="")
    message = desk.held(cc=["eve@northwind.example"])
    page = desk.page(signed_in(reviewer), message)
    assert ("CcNot visible with this key" in page) == (temper == "strict")
    desk.decided(
        desk.held(subject="It teaches the desk which fields are taken"), reviewer
    )
    desk.host.set(breaks_after=1, repeats=True, loses_events=100)
    decision = desk.resolved(desk.decided(message, reviewer))
    assert decision.state == "unattributed"
    assert desk.host.effects(message.upstream_id) == ["left"]
    page = desk.page(signed_in(reviewer), message)
    assert "what happened is not known." in page


@tempers
def test_key_that_loses_its_scope_pauses_the_connection_and_the_decision_goes_on_when_it_is_back(
    desk, reviewer, signed_in, admin
):
    message = desk.held()
    desk.host.control(scopes={OVERSIGHT: ["read"]})
    decision = desk.decided(message, reviewer)
    assert decision.state == "recorded"
    page = desk.connection_page(signed_in(admin))
    assert "MultiMail answered 403: This key lacks the scope oversight." in page
    desk.host.control(scopes={OVERSIGHT: ["oversight"]})
    desk.read()
    assert desk.connection.paused_at is None
    assert desk.carried_out(decision).state == "applied"
    assert desk.host.effects(message.upstream_id) == ["left"]


@pytest.mark.slow
@hosts({"ids": "number"}, {"ids": "odd"})
def test_ids_of_other_shapes_are_held_decided_and_followed(desk, client, reviewer):
    upstream_id = desk.host.hold()
    assert desk.take_in(client) == [200]
    desk.read()
    message = Message.objects.get(upstream_id=upstream_id)
    assert desk.decided(message, reviewer).state == "applied"
    assert set(desk.take_in(client)) == {200}
    assert state_of(message) == "delivered"
    assert desk.host.effects(upstream_id) == ["left"]
    # Of one that was decided elsewhere, a read tells.
    other = desk.held()
    desk.host.control(decide={})
    desk.read()
    assert state_of(other) == "delivered"


@pytest.mark.slow
@hosts(
    {"held_word": "pending_approval", "sent_word": "delivered"},
    {"held_word": "pending", "sent_word": "completed"},
)
def test_each_word_for_a_state_is_understood(desk, client, reviewer):
    message = desk.held()
    # Held still, in whatever words: an outcome in doubt is not taken for decided.
    desk.host.set(breaks_before=1, loses_events=100)
    decision = desk.resolved(desk.decided(message, reviewer))
    assert decision.state == "unknown"
    assert state_of(message) == "held"
    assert decision.has_been_read_as_held is True
    desk.host.set(loses_events=0)
    confirm_approval(message=message.public_id, actor=actor_of(reviewer))
    assert desk.carried_out(decision).state == "applied"
    desk.take_in(client)
    desk.read()
    assert state_of(message) == "delivered"
    assert desk.host.effects(message.upstream_id) == ["left"]


@pytest.mark.slow
@tempers
def test_answer_of_success_that_did_nothing_is_found_by_reading_and_told(
    desk, reviewer, signed_in
):
    message = desk.held()
    desk.host.set(does_nothing=1)
    desk.decided(message, reviewer)
    for model in (Decision, Message):
        model.objects.update(changed_at=F("changed_at") - SETTLE_TIME * 2)
    desk.read()
    page = desk.page(signed_in(reviewer), message)
    assert state_of(message) == "held"
    assert desk.host.effects(message.upstream_id) == []
    assert "Held again, although it was approved by Ana Ferreira" in page


@pytest.mark.slow
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
    assert state_of(second) == "rejected"
    assert desk.host.effects(second.upstream_id) == ["rejected"]
    assert Message.objects.count() == 2


@pytest.mark.slow
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
