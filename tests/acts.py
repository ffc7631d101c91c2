"""Lists for the tests that every act leaves an entry in the ledger: which forms and
tasks leave none and why, and which are covered by a test of their own.

`tests/integration/test_permissions.py` sends every form and `test_ledger_complete.py`
runs every task. Each one that is in none of these lists must leave an entry there.
"""

from audit.actions import SETTINGS
from audit.models import Entry
from audit.trail import lines

# Names of addresses with a form that does nothing worth an entry, with the reason.
NO_ACTS = {
    "live-reach": "asked by the live process, for a session that is noted where it began",
    "csp-report": "a browser's report, which anybody can send; it goes to the log",
    "part-opened": "a verdict tells which parts were not opened",
    "viewed": "a verdict tells what was ticked as viewed",
    "stop-mail": "leaves an entry where it changes something (test_notice_mail.py)",
    "mail-me-again": "says where a server's refusal is mended, of oneself alone",
    "ways": "a test to oneself changes nothing; that of a destination leaves an entry (test_alert_pages.py)",
    "read-notice": "what one has read is told by nobody",
    "read-notices": "what one has read is told by nobody",
    "setup-away": "hides a reminder for one session",
    "bulk-undo": "of the walk nothing is left to undo; each that is undone is an act of its own (test_bulk.py)",
    "edit-preview": "shows a preview of a typed text",
    "approve": "shows the findings that the verdict then names as read",
    "account_resubmit": "does what was asked for before, which is an act of its own",
    "compare-ledger": "what is no head is refused before anything is compared",
}
# Names of addresses that only show or hand out something, with the entry that they
# leave.
READS = {
    "message": "message.opened",
    "message-body": "message.served",
    "message-original": "message.served",
    "file-view": "attachment.served",
    "file-pages": "attachment.served",
    "file-page": "attachment.served",
    "file-download": "attachment.served",
}
# Names of addresses that need a device, a provider, a code, or somebody else's answer.
# The test named here uses them and checks the ledger.
PROVED = {
    "account_login": "test_ledger_entries.py::test_who_signs_in_fails_to_and_signs_out_is_told",
    "account_logout": "test_ledger_entries.py::test_who_signs_in_fails_to_and_signs_out_is_told",
    "discord-interactions": "test_interactions.py",
    "slack-interactions": "test_slack_interactions.py",
    "multimail-webhook": "test_ledger_entries.py::test_mail_that_was_never_held_is_told_whole",
    "join": "test_invitations.py::test_invited_person_joins_with_the_roles_of_the_link_and_is_signed_in",
    "mfa_authenticate": "test_second_factor.py::test_wrong_code_is_refused_and_recorded_and_does_not_sign_in",
    "mfa_login_webauthn": "test_second_factor.py",
    "mfa_reauthenticate_webauthn": "test_second_factor.py",
    "oidc-login": "test_oidc.py::test_verified_address_of_an_active_person_signs_in",
    "oidc-callback": "test_oidc.py::test_verified_address_of_an_active_person_signs_in",
    "account_reauthenticate": "test_reauthentication.py",
    "mfa_reauthenticate": "test_reauthentication.py",
    "factor-app": "test_second_factor.py",
    "factor-passkey": "test_second_factor.py",
    "add-connection": "test_ledger_entries.py::test_connection_and_its_webhook_are_told_from_the_first_step",
    "register-own-webhook": "test_ledger_entries.py::test_connection_and_its_webhook_are_told_from_the_first_step",
    "rotate-own-webhook": "test_ledger_entries.py::test_connection_and_its_webhook_are_told_from_the_first_step",
    "connection-address": "test_connection_moves.py",
    "check-ledger": "test_ledger_state.py",
}
# Names of addresses that change something at MultiMail: `test_ledger_complete.py` uses
# them with a gateway that answers.
AT_MULTIMAIL = {
    *(
        "add-mailbox",
        "mailbox-settings",
        "mailbox-mode",
        "loosen-mailbox",
        "delete-mailbox",
    ),
    *(
        "add-api-key",
        "change-api-key",
        "api-key-owner",
        "pause-api-key",
        "revoke-api-key",
    ),
    "pause-key-of-flood",
    *("add-domain", "verify-domain", "rotate-domain", "delete-domain"),
    *(
        "add-webhook",
        "test-webhook",
        "rotate-webhook",
        "delete-webhook",
        "replay-delivery",
    ),
}
# Tasks that leave no entry, with the reason.
QUIET_TASKS = {
    "approvals.tasks.tell_expiry": "copies an expiry to our gateway, whose own log has it",
    "approvals.tasks.execute_due": "wakes execute_decision",
    "policy.tasks.read_all_refusals": "wakes read_refusals",
    "mirror.tasks.read_accounts": "wakes read_account",
    "approvals.tasks.reconcile_all": "wakes read_connection",
    "mirror.tasks.freshen_thread": "wakes read_thread",
    "approvals.tasks.count_unsigned": "stores a count, which says of nobody that they did something",
    "mirror.tasks.forget": "deletes copies after a fixed time; what they said is in the ledger",
    "policy.tasks.tell_stops": "repeats to a gateway what pulling the switch recorded",
    "alerts.tasks.plan": "plans what an act asks for; the act is in the ledger",
    "alerts.tasks.sweep": "wakes drain",
    "notices.tasks.summarise": "counts for each person what waits",
    "notices.tasks.forget": "deletes what people were told long ago; the acts are in the ledger",
    "audit.tasks.seal": "a seal is its own record, signed; an entry of it would ask for the next",
    "audit.tasks.check_daily": "wakes check",
    "dashboard.tasks.tick": "runs the other tasks",
}
# Tasks whose entry is checked by the test named here.
PROVED_TASKS = {
    "mirror.tasks.survey": "test_hosted.py",
    "policy.tasks.bring_minimum": "test_oversight_minimum.py::"
    "test_minimum_arrives_at_our_gateway_whose_api_refuses_looser_modes",
    "policy.tasks.read_refusals": "test_gate_refusals.py::"
    "test_refusal_at_the_gate_is_recorded_once",
    "approvals.tasks.check_reports": "test_unconfirmed_reports.py",
    "approvals.tasks.hydrate": "test_message_page.py",
    "approvals.tasks.execute_decision": "test_execute.py",
    "approvals.tasks.read_connection": "test_reconcile.py",
    "approvals.tasks.ask_about": "test_unheard_of.py",
    "approvals.tasks.sweep": "test_expiry.py",
    "mirror.tasks.fetch_file": "test_enclosed.py",
    "approvals.tasks.fetch_pictures": "test_remote_pictures.py",
    "approvals.tasks.send_replacement": "test_edit.py",
    "mirror.tasks.read_thread": "test_thread.py",
    "alerts.tasks.drain": "test_alert_deliveries.py",
    "alerts.tasks.answer_interaction": "test_interactions.py",
    "audit.tasks.forget_details": "test_retention.py::test_details_past_their_retention_are_removed_entries_stay",
    "audit.tasks.check": "test_ledger_state.py",
}


def last_entry():
    return Entry.objects.newest_first().values_list("pk", flat=True).first() or 0


def told_since(last):
    return lines(Entry.objects.filter(pk__gt=last).oldest_first())


def what_told_lacks(told):
    """Yield what is missing in the ledger lines that one act on a page left."""
    for entry in told:
        details = entry.details
        if not entry.surface or not entry.trace:
            yield f"{entry.action}: surface {entry.surface!r}, trace {entry.trace!r}"
        if entry.actor_kind == "person" and (entry.surface, details.get("address")) != (
            "web",
            "127.0.0.1",
        ):
            yield f"{entry.action}: by a person through {entry.surface} from {details.get('address')!r}"
        if entry.action in SETTINGS and not (
            details.get("before") and details.get("after")
        ):
            yield f"{entry.action}: before {details.get('before')!r}, after {details.get('after')!r}"
        elif entry.action in SETTINGS and details["before"] == details["after"]:
            yield f"{entry.action}: nothing is different"
    if "person" not in [line.actor_kind for line in told]:
        yield "no entry of what a person did"
