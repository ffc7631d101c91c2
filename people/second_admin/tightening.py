"""The commands of admins that never wait for a second admin, each with the reason. All
other commands of admins can wait.

A command is listed here only if no call of it can loosen anything. A command of which
some calls loosen and others tighten is decorated instead, and says for each call
whether it tightens (`registry.ChangeInWords`).
"""

NEVER_WAITS = {
    # These stop, pause, revoke, withdraw or end something.
    "pull": "stops decisions",
    "pause_by_hand": "pauses a connection",
    "pause_key": "pauses an API key",
    "revoke_key": "revokes an API key",
    "end_overlap": "ends an old secret",
    "deactivate": "deactivates a person",
    "take_role": "revokes a role",
    "withdraw": "withdraws an invitation",
    "unlink_of": "revokes a way to act from a chat",
    "end_duty": "ends somebody's duty",
    # These change nothing that is in force. Activating a draft can wait, and so can
    # adding a rule that names a group or calendar.
    "begin_draft": "begins a draft of the policy",
    "change_draft": "changes the draft of the policy",
    "discard_draft": "discards the draft of the policy",
    "delete_named": "deletes a list, group or calendar that nothing names",
    "add_allowlist": "makes an empty allowlist that nothing names yet",
    # These test something, or repeat what was done or failed. No setting changes.
    "test_destination": "posts a test",
    "send_test": "has a test event sent",
    "verify_domain": "looks at DNS",
    "replay": "has a webhook delivered again",
    "resend": "sends an alert again",
    "replay_event": "applies a signed webhook again",
    "dismiss_event": "closes a webhook that could not be applied; reading MultiMail finds what it said",
}
