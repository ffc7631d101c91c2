"""Checks the invariants that must hold after every fault test, by the records of the
desk, the gateway, the mail box and the proxies.

They are numbered I1 to I12. I10 needs a second connection and is in test_desk_servers.
I9 checks here only that alerts are planned; test_launcher waits until they are posted.
"""

import hashlib

from audit.models import Entry
from audit.recording import detail_hash, entry_hash
from common.references import references_in

# The states in which the desk may have a message, by its status at the gateway.
_MIRRORED = {
    "pending_send_approval": ("held",),
    "scheduled": ("approved", "scheduled_approved"),
    "sent": ("approved", "sent", "delivered", "bounced", "complained"),
    "send_failed": ("failed",),
    "rejected": ("rejected",),
    "cancelled": ("cancelled",),
}
_DOUBTFUL = ("unknown", "unattributed", "withdrawn")
_ENDS = (
    "decision.applied",
    "decision.superseded",
    "decision.refused",
    "decision.undone",
)
_CLOSED = (
    "message.rejected",
    "message.cancelled",
    "message.sent",
    "message.delivered",
    "message.failed",
)


def check_invariants(rig, *, fate_may_be_unknown=False):
    """Fail with the first violated invariant for the messages of this test.

    `fate_may_be_unknown`: the gateway may have lost the answer of a mail server. It
    does not send such a mail again, so it may have left or not.
    """
    for held in rig.mine:
        _i12_nothing_is_left_over(rig, held)
        _i4_mirror_is_what_the_gateway_has(rig, held)
        _i1_at_most_one_effect(rig, held, fate_may_be_unknown)
        _i2_every_effect_has_an_earlier_decision(rig, held)
        _i5_ends_are_ends(rig, held)
        _i7_doubt_is_shown(rig, held)
        _i9_every_card_has_its_delivery(rig, held)
    _i3_every_accepted_webhook_is_stored(rig)
    _i8_ledger_verifies(rig)


def _i12_nothing_is_left_over(rig, held):
    """Unfinished work ends automatically; only doubt may wait for a person."""

    def ended():
        states = [decision["state"] for decision in rig.decisions(held)]
        assert not {"recorded", "calling"} & set(states), f"{held.subject}: {states}"
        return True

    rig.sweep_until(ended, "I12: every decision to end")


def _i4_mirror_is_what_the_gateway_has(rig, held):
    """The desk shows the state that the gateway has, at the latest after a read."""

    def equal():
        status = rig.email(held)["status"]
        state = rig.message(held)["state"]
        if state not in _MIRRORED[status]:
            rig.reconcile()
            rig.let_its_event_be_late(held)
        assert state in _MIRRORED[status], (
            f"{held.subject} is {status} at the gateway and {state} here"
        )
        return True

    rig.sweep_until(equal, "I4: the mirror to show what the gateway has")


def _i1_at_most_one_effect(rig, held, fate_may_be_unknown):
    def in_doubt():
        return fate_may_be_unknown and rig.email(held)["fate_unknown"]

    effects = rig.effects(held)
    approved = rig.email(held)["decision"] == "approved"
    assert len(effects) <= 1, (
        f"I1: the gateway decided {held.subject} {len(effects)} times"
    )
    effective = [
        call
        for call in rig.upstream.reached("decide", held.upstream_id)
        if call.status == 200
    ]
    assert len(effective) <= 1, (
        f"I1: {len(effective)} calls for {held.subject} had an effect"
    )
    if approved:
        what = f"I1: the mail {held.subject} that was approved to leave"
        rig.wait(
            lambda: rig.mails(held) or in_doubt() or rig.let_outbox_lease_end(held),
            what,
        )
    if in_doubt():
        assert rig.mails(held) <= 1
        return
    # This is I11 too: messages that are not approved were not sent.
    assert rig.mails(held) == approved, (
        f"I1: {rig.mails(held)} mails with the subject {held.subject}"
    )


def _i2_every_effect_has_an_earlier_decision(rig, held):
    for effect in rig.effects(held):
        references = references_in(effect["metadata"]["reason"])
        if not references:
            assert held.upstream_id in rig.decided_elsewhere, (
                f"I2: nobody decided {held.subject}"
            )
            continue
        reference = references[-1]
        [decision] = [
            one for one in rig.decisions(held) if one["reference"] == reference
        ]
        recorded = rig.entries(held, "decision.recorded")
        [entry] = [
            entry for entry in recorded if entry["details"]["reference"] == reference
        ]
        assert decision["recorded_at"] < effect["created_at"]
        assert entry["at"] < effect["created_at"], (
            f"I2: {held.subject} was carried out before it was written down"
        )
        if decision["given_by_id"]:
            assert entry["actor_kind"] == "person"
            assert entry["actor_id"] == str(decision["given_by_id"])
        else:
            assert decision["rule"], (
                f"I2: neither person nor rule decided {held.subject}"
            )
        _i6_what_was_shown_was_executed(rig, held, decision, entry, effect)


def _i6_what_was_shown_was_executed(rig, held, decision, entry, effect):
    [revision] = rig.sql(
        "SELECT fingerprint FROM mirror_revision WHERE id = %s", decision["revision_id"]
    )
    calls = [
        call
        for call in rig.upstream.reached("decide", held.upstream_id)
        if call.status == 200
    ]
    # A rule decides what is held now, so its call may name the fingerprint of a newer
    # revision.
    sent = {
        call.request.json.get("expected_fingerprint")
        for call in calls
        if decision["given_by_id"]
    }
    assert sent <= {revision["fingerprint"]}, (
        f"I6: {held.subject} was carried out with another fingerprint"
    )
    assert (
        entry["fingerprint"]
        == effect["metadata"]["fingerprint"]
        == revision["fingerprint"]
    )
    if decision["given_by_id"]:
        shown = rig.entries(held, "message.opened", "message.served")
        assert revision["fingerprint"] in {one["fingerprint"] for one in shown}, (
            f"I6: {held.subject} was never shown"
        )


def _i5_ends_are_ends(rig, held):
    ended = {}
    closed = ""
    for entry in rig.entries(held):
        action = entry["action"]
        assert not (closed and action == "message.held"), (
            f"I5: {held.subject} was held again after {closed}"
        )
        closed = action if action in _CLOSED else closed
        reference = (entry["details"] or {}).get("reference", "")
        if action.startswith("decision.") and reference:
            assert reference not in ended, (
                f"I5: {action} after {ended.get(reference)} for {held.subject}"
            )
            if action in _ENDS:
                ended[reference] = action


def _i7_doubt_is_shown(rig, held):
    shown = rig.person("AUDITOR").find(held.upstream_id, tab="unknown") is not None
    doubtful = any(decision["state"] in _DOUBTFUL for decision in rig.decisions(held))
    assert shown == doubtful, (
        f"I7: {held.subject} is {'' if doubtful else 'not '}in doubt, shown: {shown}"
    )


def _i9_every_card_has_its_delivery(rig, held):
    """Each message has a planned alert, at the latest after a sweep. Whether it was
    posted is not checked, because Discord's limits make that slow.
    """
    query = (
        "SELECT count(*) AS n FROM alerts_delivery d JOIN alerts_card c ON c.id = d.card_id "
        "JOIN mirror_message m ON m.id = c.message_id WHERE m.public_id = %s"
    )

    def planned():
        assert rig.sql(query, held.id)[0]["n"], (
            f"nobody is to be told of {held.subject}"
        )
        return True

    rig.sweep_until(planned, "I9: every card to be planned")


def _i3_every_accepted_webhook_is_stored(rig):
    accepted = [post for post in rig.hooks.reached("webhook") if post.status == 200]
    digests = {hashlib.sha256(post.request.body).hexdigest() for post in accepted}
    stored = rig.sql(
        "SELECT digest FROM mirror_webhookevent WHERE digest = ANY(%s)", list(digests)
    )
    assert {row["digest"] for row in stored} == digests, (
        "I3: a webhook that was answered 200 is not kept"
    )


def _i8_ledger_verifies(rig):
    """Entries since the last check match their hashes, and so do details."""
    query = (
        "SELECT e.*, d.salt, d.fields FROM audit_entry e JOIN audit_entrydetail d ON d.entry_id = e.id "
        "WHERE e.id > %s ORDER BY e.id"
    )
    for row in rig.sql(query, rig.verified):
        salt = bytes(row.pop("salt"))
        fields = row.pop("fields")
        entry = Entry(**row)
        assert entry.hash == entry_hash(entry), f"I8: entry {entry.pk} was altered"
        hashes = {name: detail_hash(salt, name, text) for name, text in fields.items()}
        assert hashes == entry.detail_hashes, (
            f"I8: the details of entry {entry.pk} were altered"
        )
        rig.verified = entry.pk
