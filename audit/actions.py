"""All actions that an entry of the ledger can have, each with the words that follow the
actor's name on pages: "Ben Okafor" + "gave a verdict". `record` refuses other actions.
"""

# The outcome of entries which say that a test message would have been sent, and what
# pages, cards and answers say of it.
TEST = "test"
TESTED = "Test: recorded, not sent"
ACTIONS = {
    # what MultiMail reported
    "message.held": "held the message for review",
    "message.approved": "reported the message as approved",
    "message.rejected": "reported the message as rejected",
    "message.sent": "sent the message",
    "message.delivered": "reported the message as delivered",
    "message.bounced": "reported a bounce",
    "message.complained": "reported a spam complaint",
    "message.cancelled": "reported the message as cancelled",
    "message.failed": "reported that sending failed",
    "message.received": "received a message",
    "message.scheduled": "scheduled the message",
    "message.set_apart": "listed the message as over limit",
    "message.released": "released the message to the agent",
    "message.gone": "no longer holds the message; how it was decided is not known",
    "message.expiring": "found that the time to approve the message is nearly over",
    "message.late": "found the message late",
    "message.reminded": "reminded people of the message",
    "message.assigned": "assigned the message",
    "message.extended": "extended the deadline of the message",
    "message.left_behind": "left the message at MultiMail because its connection was removed",
    "webhook.late": "sent an event that came too late to change anything",
    "webhook.unconfirmed": "reported the end of the message, which a read has to confirm",
    "webhook.refuted": "found that a webhook had reported something else than MultiMail does",
    "webhook.unknown": "sent an event that this version does not know",
    "webhook.poison": "sent an event that could not be applied",
    "webhook.replayed": "applied a stored event again",
    "webhook.dismissed": "dismissed a stored event",
    # what the desk did
    "message.fetched": "fetched the content",
    "message.changed": "found that the content had changed",
    "message.named": "gave the details of a message that had already been decided",
    "message.unreadable": "stopped trying to store the content, after several failed tries",
    "message.fetch_again": "fetched the content again",
    "message.served": "loaded the message (not opened yet)",
    "message.opened": "opened the message",
    "message.asked_about": "had the desk ask MultiMail about the message",
    "message.file_differs": "found an attachment that does not match the fingerprint",
    "message.answered": "found a newer message in the thread",
    "attachment.served": "opened an attachment",
    "thread.opened": "opened the thread",
    "pictures.asked": "asked for the remote pictures of the message",
    "pictures.fetched": "fetched remote pictures of the message",
    "verdict.given": "gave a verdict",
    "verdict.refused": "was refused a verdict",
    "act.refused": "was refused an act",
    "verdict.taken_back": "took the approval back",
    "approval.recorded": "recorded the approval; others have to approve too",
    "bulk.decided": "decided several messages together",
    "bulk.begun": "began to decide all messages that matched",
    "bulk.stopped": "stopped deciding the messages that matched",
    "bulk.finished": "finished deciding the messages that matched",
    "decision.recorded": "recorded the decision",
    "decision.undone": "undid the decision",
    "decision.calling": "sent the decision to MultiMail",
    "decision.applied": "confirmed that the decision took effect",
    "decision.refused": "did not carry out the decision",
    "decision.superseded": "found that somebody else had decided",
    "decision.unknown": "could not find out whether the decision took effect",
    "decision.without_effect": "said that the decision had not taken effect",
    "decision.postponed": "will try again",
    "decision.unattributed": "found the message decided, but not by whom",
    "decision.withdrawn": "withdrew the decision, which may still take effect",
    "decision.confirmed": "confirmed that the decision goes out again",
    "decision.left_after_all": "found that a withdrawn approval was sent after all",
    "decision.found_again": "found the message held again",
    "decision.elsewhere": "reported a decision that was made outside this desk",
    # an edited message in place of a held one
    "message.edit_asked": "edited the message, to be sent as a new one",
    "message.edit_sent": "sent the edited message for review",
    "message.edit_refused": "did not send the edited message",
    "message.edit_unfinished": "could not reject the message that was replaced",
    "message.edit_finished": "had the replacement finished",
    "message.edited": "wrote the message by correcting another one",
    # notes of people on a message that waits
    "claim.taken": "claimed the message",
    "claim.released": "unclaimed the message",
    "snooze.set": "snoozed the message",
    "snooze.ended": "unsnoozed the message",
    "comment.added": "commented",
    # how people look at the queue
    "view.saved": "saved a view of the queue",
    "view.deleted": "deleted a view of the queue",
    # the brake on agents that send too much
    "brake.opened": "began to keep messages out of the queue, because a limit was exceeded",
    "brake.ended": "found that no more messages come than the limit allows",
    "brake.put_back": "put messages that were over limit back into the queue",
    "caps.changed": "changed the limits of messages",
    # figures of the report
    "person_figures.set": "set whether individual figures are shown",
    "mail_subjects.set": "set whether mails to people name subjects",
    # the kill switch
    "kill_switch.pulled": "pulled the kill switch",
    "kill_switch.released": "released the kill switch",
    # how the desk is set up
    "usual_texts.changed": "changed the usual reasons or saved comments of a mailbox",
    "policy.draft_begun": "began a draft of the policy",
    "policy.draft_changed": "changed the draft of the policy",
    "policy.draft_discarded": "discarded the draft of the policy",
    "policy.activated": "activated a version of the policy",
    "group.added": "made a group of the policy",
    "group.changed": "changed a group of the policy",
    "group.deleted": "deleted a group of the policy",
    "calendar.added": "made a calendar of working hours",
    "calendar.changed": "changed a calendar of working hours",
    "calendar.deleted": "deleted a calendar of working hours",
    "review_plan.set": "set a review plan",
    "review_plan.removed": "removed a review plan",
    "duty.set": "changed who is on duty",
    "allowlist.added": "made an allowlist",
    "allowlist.changed": "changed an allowlist",
    "allowlist.deleted": "deleted an allowlist",
    "allowlist.pushed": "copied an allowlist to the gate",
    "allowlist.push_failed": "could not copy an allowlist to the gate",
    "message.refused_at_gate": "refused a message to blocked recipients",
    "oversight_minimum.brought": "brought the minimum oversight mode to the gateway",
    "account.change_asked": "asked MultiMail to change the account",
    "mailbox.created": "created a mailbox",
    "mailbox.changed": "changed a mailbox",
    "mailbox.loosened": "loosened the oversight of a mailbox",
    "mailbox.deleted": "deleted a mailbox",
    "mailbox.seen_changed": "found different mailbox settings at MultiMail",
    "mailbox.seen_looser": "found the oversight of a mailbox loosened at MultiMail",
    "mailbox.change_failed": "could not change a mailbox",
    "api_key.created": "created an API key",
    "api_key.changed": "changed an API key",
    "api_key.revoked": "revoked an API key",
    "api_key.paused": "paused an API key",
    "api_key.resumed": "resumed an API key",
    "api_key.owner_set": "set the owner of an API key",
    "api_key.change_failed": "could not change an API key",
    "domain.added": "added a domain",
    "domain.verified": "checked a domain's DNS records: verified",
    "domain.looked_up": "checked a domain's DNS records: not verified yet",
    "domain.dkim_rotated": "rotated a domain's DKIM key",
    "domain.removed": "removed a domain",
    "domain.change_failed": "could not change a domain",
    "hook.registered": "registered a webhook",
    "hook.rotated": "changed the secret of a webhook",
    "hook.deleted": "deleted a webhook",
    "hook.tested": "tested a webhook",
    "hook.replayed": "sent a webhook delivery again",
    "hook.change_failed": "could not change a webhook",
    # alerts
    "destination.added": "added an alert destination",
    "destination.changed": "changed an alert destination",
    "destination.switched_on": "switched an alert destination on",
    "destination.removed": "removed an alert destination",
    "destination.tested": "tested an alert destination",
    "destination.route_added": "notified an alert destination about more",
    "destination.route_removed": "notified an alert destination about less",
    "destination.secret_rotated": "changed the secret of an alert destination",
    "alert.delivered": "showed the message in an alert",
    "alert.failed": "could not deliver an alert",
    "alert.sent_again": "sent an alert again",
    "destination.switched_off": "switched an alert destination off",
    # what people do in a chat
    "interaction.refused": "was refused in a chat",
    "command.given": "gave a command on Discord",
    "message.commanded": "created the message with a signed command on Discord",
    # connections and people
    "connection.paused": "paused the connection",
    "connection.failing": "could not reach MultiMail",
    "connection.recovered": "reached MultiMail again",
    "connection.fields_refused": "found that MultiMail does not take a field of the desk's calls",
    "connection.decided_elsewhere": "found that several messages were decided elsewhere at once",
    "connection.capability_changed": "found that MultiMail can do something new, or no longer",
    "connection.read_asked": "had the desk read the account",
    "connection.hold_all_on": "asked the gateway to hold all mail",
    "connection.hold_all_off": "asked the gateway to stop holding all mail",
    "connection.hold_all_failed": "got no confirmation from the gateway",
    "connection.added": "added the connection",
    "connection.changed": "changed the connection",
    "connection.change_failed": "could not change the account",
    "connection.moved": "changed the address of the connection",
    "connection.key_set": "set a key of the connection",
    "connection.key_removed": "removed a key of the connection",
    "connection.paused_by_hand": "paused the connection",
    "connection.resumed": "resumed the connection",
    "connection.removed": "removed the connection",
    "connection.secret_rotated": "changed the webhook secret of the connection",
    "backup.made": "began a backup of everything",
    "secrets.rotated": "encrypted the stored secrets with the newest key",
    "person.invited": "invited somebody",
    "person.invitation_withdrawn": "withdrew an invitation",
    "person.joined": "joined the desk",
    "person.confirmed": "confirmed that an account counts as nobody else",
    "person.renamed": "changed a name",
    "person.grants_changed": "changed what somebody may do",
    "person.deactivated": "deactivated somebody",
    "person.reactivated": "reactivated somebody",
    "person.password_link_made": "made a link for a new password",
    "person.link_mailed": "mailed a link to join or for a new password",
    "person.email_proved": "proved that mail reaches them",
    "person.password_changed": "set a new password",
    "person.factor_added": "added a second factor",
    "person.factor_removed": "removed a second factor",
    "person.recovery_codes_made": "made new recovery codes",
    "person.recovery_code_used": "used a recovery code",
    "person.reauthenticated": "confirmed their identity",
    "person.confirmation_failed": "failed to confirm their identity",
    "person.session_ended": "ended a session",
    "person.provider_linked": "linked their account at the sign-in provider",
    "person.chat_linked": "linked a chat account",
    "person.chat_unlinked": "unlinked a chat account",
    "person.time_zone_set": "chose a time zone",
    "role.second_factor_set": "set whether a role needs a second factor",
    # changes that wait for a second admin
    "second_admin.set": "set whether changes wait for a second admin",
    "change.asked": "asked a second admin for a change",
    "change.accepted": "accepted a change as the second admin",
    "change.declined": "declined a change",
    "change.secret_shown": "was shown the secret that an accepted change made",
    "change.withdrawn": "withdrew a change that waited for a second admin",
    "change.refused": "could not carry out an accepted change",
    "person.signed_in": "signed in",
    "person.sign_in_failed": "failed to sign in",
    "person.signed_out": "signed out",
    "person.notices_set": "set what they are mailed",
    "person.browser_added": "switched notifications of a browser on",
    "person.browser_removed": "switched notifications of a browser off",
    "person.away_set": "set when they are out of office",
    "person.keys_off": "switched keyboard shortcuts off",
    "person.keys_on": "switched keyboard shortcuts on",
    "access.denied": "was denied access",
    # the ledger itself; a seal has no entry, because that would need another seal
    "ledger.restored": "continued the ledger after a restore",
    "ledger.key_changed": "changed the ledger's signing key",
    "ledger.check_asked": "requested a full check of the ledger",
    "ledger.checked": "checked the whole ledger",
    "ledger.broken": "found that the ledger failed verification",
    "ledger.anchor_failed": "could not write a seal outside the database",
    "ledger.exported": "began an export of history",
    "ledger.export_ended": "finished an export of history",
    "ledger.export_broken_off": "interrupted an export of history",
    "ledger.bundled": "exported a bundle of the whole ledger",
    "ledger.proof_taken": "downloaded a proof of the message",
    "ledger.checkpoint_checked": "compared the ledger with a saved checkpoint",
    "ledger.proof_checked": "checked a proof",
    "ledger.misdated": "found entries whose time does not match their position",
    "ledger.details_removed": "removed the personal details of old entries",
    "ledger.details_erased": "removed the personal details of a message",
    "ledger.search_saved": "saved a search of the ledger",
    "ledger.search_deleted": "deleted a search of the ledger",
    "ledger.seen_again": "opened a past decision as it was seen",
}

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
