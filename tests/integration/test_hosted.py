"""The desk's main journeys against a hosted MultiMail that shares no code with us, in
both of its tempers.

What left is read from the stand-in's own ledger. The ordinary run has the strict host;
`--all` has both.
"""

import pytest

from approvals.models import Decision
from approvals.reconcile import reads
from audit.models import Entry
from common.postgres import clock
from mirror.models import Connection, Message
from people.models import DiscordAccount
from tests.hosted.running import OVERSIGHT, READ, hosted
from tests.integration.deciding import decide
from tests.integration.hosted_desk import hosted_desk, text_of
from tests.integration.test_interactions import application, post_card, press, sent  # noqa: F401 -- a fixture
from tests.markup import says

STRICT = "strict"
LENIENT = pytest.param("lenient", marks=pytest.mark.slow)
tempers = pytest.mark.parametrize("temper", [STRICT, LENIENT])
# What the ordinary run leaves out, in both tempers.
slow_tempers = pytest.mark.parametrize(
    "temper", [pytest.param("strict", marks=pytest.mark.slow), LENIENT]
)
DECIDE = "/v1/oversight/decide"
PENDING = "/v1/oversight/pending"


@pytest.fixture(scope="module")
def host():
    with hosted() as standin:
        yield standin


@pytest.fixture
def desk(host, temper, signed_in, admin, settings):
    """The desk, connected by its pages to a host of this temper."""
    host.begin(temper)
    with hosted_desk(host) as desk:
        settings.PUBLIC_URL = desk.origin
        desk.connect(signed_in(admin))
        yield desk


def ended(message):
    message.refresh_from_db()
    return message.state


@slow_tempers
def test_account_is_connected_by_its_keys_once_and_its_webhook_signs_with_our_secret(
    desk, signed_in, admin
):
    connection, [hook] = desk.connection, desk.host.shown["webhooks"]
    assert connection.is_our_gateway is False
    assert connection.failing_since is None
    assert hook["secret"] == connection.webhook_secret
    assert hook["id"] == connection.upstream_webhook_id
    client = signed_in(admin)
    form = {
        "place": "other",
        "address": desk.host.url,
        "oversight_key": OVERSIGHT,
        "read_key": READ,
    }
    again = client.post("/connections/add/", form | {"name": "Again"})
    assert "connected already, as Hosted" in text_of(again)
    swapped = client.post(
        "/connections/add/",
        form | {"oversight_key": READ, "read_key": OVERSIGHT, "name": "Other"},
    )
    assert "may not see held messages" in text_of(swapped)
    assert Connection.objects.count() == 1


@tempers
def test_held_message_is_seen_and_approved_leaves_once_and_is_shown_as_delivered(
    desk, client, reviewer, signed_in
):
    host = desk.host
    upstream_id = host.hold(cc=["eve@northwind.example"])
    assert desk.take_in(client) == [200]
    message = Message.objects.get(upstream_id=upstream_id)
    assert message.state == "held"
    assert message.hydrated_at is None
    assert desk.read() == "1 held"
    page = desk.page(signed_in(reviewer), message)
    assert "Hello Dana" in page
    # The strict host's list has no Cc; the read key shows it.
    assert "eve@northwind.example" in page
    # Looking decided nothing.
    assert host.calls(DECIDE) == []
    decision = desk.decided(message, reviewer)
    assert decision.state == "applied"
    assert host.effects(upstream_id) == ["left"]
    assert set(desk.take_in(client)) == {200}
    desk.read()
    assert ended(message) == "delivered"
    assert "Delivered. Approved by Ana Ferreira" in desk.page(client, message)
    assert host.effects(upstream_id) == ["left"]


@slow_tempers
def test_message_without_any_webhook_is_found_approved_and_shown_as_sent_by_reads_alone(
    desk, reviewer
):
    desk.host.set(loses_events=100)
    message = desk.held()
    assert desk.decided(message, reviewer).state == "applied"
    desk.read()
    assert ended(message) == "delivered"
    assert desk.host.effects(message.upstream_id) == ["left"]


@slow_tempers
def test_rejection_and_request_for_changes_reach_the_sender_or_say_that_their_words_did_not(
    desk, temper, client, reviewer, signed_in
):
    browser = signed_in(reviewer)
    for outcome, word in (("reject", "Rejected"), ("send_back", "Changes requested")):
        message = desk.held(subject=outcome)
        decision = desk.decided(message, reviewer, outcome, "The amount is wrong.")
        assert decision.state == "applied"
        assert desk.host.effects(message.upstream_id) == ["rejected"]
        desk.take_in(client)
        desk.read()
        [kept] = [
            one["reason"]
            for one in desk.host.shown["effects"]
            if one["email_id"] == message.upstream_id
        ]
        page = desk.page(browser, message)
        assert word in page
        if temper == "strict":
            assert kept == ""
            assert "the sender was not told" in page
        else:
            assert kept.startswith(
                "The amount is wrong. (Ana Ferreira via Countersign, reference "
            )


@tempers
def test_content_that_changed_after_it_was_read_does_not_leave(
    desk, reviewer, signed_in
):
    message = desk.held()
    decision = decide(message, reviewer).decision
    desk.host.control(
        edit={"id": message.upstream_id, "markdown": "Please pay somebody else."}
    )
    assert desk.carried_out(decision).state == "refused"
    assert "no longer the one that was read" in decision.explanation
    assert desk.host.effects(message.upstream_id) == []
    assert desk.host.calls(DECIDE) == []
    desk.read()
    assert "Please pay somebody else" in desk.page(signed_in(reviewer), message)
    assert desk.decided(message, reviewer).state == "applied"
    assert desk.host.effects(message.upstream_id) == ["left"]


@slow_tempers
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
    states = set(Message.objects.values_list("state", flat=True))
    assert states == {"delivered"}
    assert desk.host.calls(DECIDE) == []
    assert {
        tuple(desk.host.effects(one))
        for one in Message.objects.values_list("upstream_id", flat=True)[:3]
    } == {("left",)}
    page = desk.page(signed_in(reviewer), Message.objects.get(subject="Letter 1"))
    assert "outside this desk by kim@elsewhere.example" in page
    assert "decided elsewhere; this desk had sent nothing" in desk.page(client, first)


@slow_tempers
@pytest.mark.usefixtures("application")
def test_press_on_discord_is_the_one_decision_and_who_comes_second_learns_of_it(
    desk, reviewer, second_reviewer, signed_in
):
    DiscordAccount.objects.create(
        person=reviewer, discord_id="118000000000000042", name="ana.dev"
    )
    message = desk.held()
    post_card(message)
    assert sent(press(message)).status_code == 200
    decision = Decision.objects.get()
    form = {
        "outcome": "reject",
        "reason": "No.",
        "fingerprint": message.revision.fingerprint,
    }
    says(
        signed_in(second_reviewer).post(f"/queue/{message.public_id}/verdict/", form),
        409,
        "Ana Ferreira",
    )
    assert desk.carried_out(decision).state == "applied"
    assert desk.host.effects(message.upstream_id) == ["left"]


@tempers
def test_outcome_that_was_not_told_is_found_by_reading_and_nothing_leaves_twice(
    desk, temper, client, reviewer, signed_in
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
    assert ended(message) == "delivered"
    # The strict host refuses the reason, and with it our reference.
    page = desk.page(signed_in(reviewer), message)
    if temper == "strict":
        assert state == "unattributed"
        assert "whether it was by this decision is not known" in page
    else:
        assert state == "applied"
        assert "Approved by Ana Ferreira" in page


@slow_tempers
def test_outcome_that_no_read_can_tell_ends_as_unattributed_and_the_page_says_so(
    desk, temper, reviewer, signed_in
):
    Connection.objects.update(read_key="")
    message = desk.held(cc=["eve@northwind.example"])
    page = desk.page(signed_in(reviewer), message)
    assert ("CcNot visible with this key" in page) == (temper == "strict")
    assert ("eve@" in page) == (temper != "strict")
    desk.decided(
        desk.held(subject="It teaches the desk which fields are taken"), reviewer
    )
    desk.host.set(breaks_after=1, repeats=True, loses_events=100)
    decision = desk.resolved(desk.decided(message, reviewer))
    assert decision.state == "unattributed"
    assert desk.host.effects(message.upstream_id) == ["left"]
    page = desk.page(signed_in(reviewer), message)
    assert "MultiMail no longer holds it, and what happened is not known." in page


@tempers
def test_key_that_loses_its_scope_pauses_the_connection_and_the_decision_goes_on_when_it_is_back(
    desk, reviewer, signed_in, admin
):
    message = desk.held()
    desk.host.control(scopes={OVERSIGHT: ["read"]})
    decision = desk.decided(message, reviewer)
    assert decision.state == "recorded"
    assert desk.host.effects(message.upstream_id) == []
    page = desk.connection_page(signed_in(admin))
    assert (
        "is paused: MultiMail answered 403: This key lacks the scope oversight." in page
    )
    desk.host.control(scopes={OVERSIGHT: ["oversight"]})
    desk.read()
    assert desk.connection.paused_at is None
    assert desk.carried_out(decision).state == "applied"
    assert desk.host.effects(message.upstream_id) == ["left"]


@slow_tempers
def test_key_that_may_only_look_any_more_decides_nothing_and_the_page_says_why(
    desk, reviewer, signed_in
):
    message = desk.held()
    desk.host.control(scopes={OVERSIGHT: ["oversight_read"]})
    decision = desk.decided(message, reviewer)
    assert decision.state == "refused"
    assert desk.host.effects(message.upstream_id) == []
    assert "This key lacks the scope oversight" in desk.page(
        signed_in(reviewer), message
    )


@slow_tempers
def test_hostile_mail_is_shown_inert_and_its_history_is_in_the_ledger(
    desk, client, reviewer, signed_in
):
    script = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    message = desk.held(subject=script, markdown=f"Hello {script}")
    page = signed_in(reviewer).get(f"/queue/{message.public_id}/").text
    assert "<script>alert(1)" not in page
    assert "<img src=x" not in page
    assert desk.decided(message, reviewer, "reject", "No.").state == "applied"
    desk.take_in(client)
    told = set(
        Entry.objects.of_message(message.public_id).values_list("action", flat=True)
    )
    assert {
        "message.held",
        "decision.recorded",
        "decision.calling",
        "decision.applied",
        "message.rejected",
    } <= told
