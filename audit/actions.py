"""All actions that an entry of the ledger can have, each with the words that follow the
actor's name on pages: "Ben Okafor" + "gave a verdict". `record` refuses other actions.
"""

from pathlib import Path

from common.tables import table_pairs

# The outcome of entries which say that a test message would have been sent, and what
# pages, cards and answers say of it.
TEST = "test"
TESTED = "Test: recorded, not sent"
ACTIONS = table_pairs(Path(__file__).with_name("actions.txt").read_text("utf-8"))

# Actions that change a setting: their entries have the details `before` and `after`.
SETTINGS = frozenset(
    """
    kill_switch.pulled kill_switch.released caps.changed
    calendar.added calendar.changed calendar.deleted review_plan.set review_plan.removed duty.set
    person.away_set person.notices_set person.browser_added
    person.browser_removed
    usual_texts.changed
    policy.draft_changed policy.draft_discarded policy.activated
    group.added group.changed group.deleted
    allowlist.added allowlist.changed allowlist.deleted
    mailbox.created mailbox.changed mailbox.loosened mailbox.deleted mailbox.seen_changed
    mailbox.seen_looser
    api_key.created api_key.changed api_key.revoked api_key.owner_set
    api_key.paused api_key.resumed
    domain.added domain.dkim_rotated domain.removed
    hook.registered hook.rotated hook.deleted
    destination.added destination.changed destination.switched_on destination.switched_off
    destination.removed destination.secret_rotated destination.route_added destination.route_removed
    view.saved view.deleted
    connection.added connection.changed connection.moved
    connection.key_set connection.key_removed
    connection.paused_by_hand connection.resumed connection.removed connection.secret_rotated
    person.renamed person.grants_changed person.deactivated person.reactivated
    person.factor_added person.factor_removed role.second_factor_set
    second_admin.set oversight_minimum.brought person_figures.set
    mail_subjects.set
    person.chat_linked person.chat_unlinked person.time_zone_set
    person.keys_off person.keys_on
    """.split()
)

# Actions that programs, webhooks and workers record in the ordinary course, and that
# the audit page folds. Those that need somebody's attention, such as a bounce, are not
# here.
TECHNICAL = frozenset(
    """
    message.held message.approved message.rejected message.sent message.delivered
    message.received message.scheduled message.released message.fetched message.served
    message.asked_about message.named message.expiring message.answered message.set_apart
    webhook.late webhook.unconfirmed webhook.unknown pictures.fetched
    approval.recorded decision.recorded decision.calling decision.applied decision.postponed
    alert.delivered allowlist.pushed ledger.checked
    connection.failing connection.recovered
    """.split()
)
