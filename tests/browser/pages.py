"""The pages that tests and screenshots open, by name; tests/showcase.py fills in what
is in braces.
"""

from tests.showcase import STATES

# One page of each kind. What is in braces is filled in.
PAGES = {
    "sign-in": "/accounts/login/",
    "home": "/",
    "find": "/find/",
    "queue": "/queue/",
    "message": "{crowded}",
    "high-risk": "{crowded}approve/",
    "edit": "{held}edit/",
    "thread": "{held}thread/",
    "history": "/history/",
    "audit": "/audit/",
    "trace": "/audit/trace/{id}/",
    "ledger-state": "/audit/verify/",
    "attention": "/attention/",
    "stop": "/stop/",
    "alerts": "/alerts/",
    "findings": "/rules/findings/",
    "rule": "/rules/findings/first_contact/",
    "own-words": "/rules/words/",
    "connections": "/connections/",
    "mailboxes": "/mailboxes/",
    "policy": "/policy/",
    "policy-groups": "/policy/groups/",
    "policy-playground": "/policy/playground/",
    "policy-versions": "/policy/versions/",
    "policies": "/policy/ready-made/",
    "ready-made-policy": "/policy/ready-made/regulated/",
    "review-plans": "/review-plans/",
    "review-plan": "/review-plans/all/",
    "set-apart": "/queue/apart/",
    "caps": "/caps/",
    "allowlists": "/allowlists/",
    "allowlist": "/allowlists/all/restriction/",
    "allowlist-history": "/allowlists/all/restriction/history/",
    "allowlist-import": "/allowlists/all/restriction/import/",
    "refusals": "/allowlists/refusals/",
    "account": "/people/me/",
    "discord-accounts": "/people/me/discord/",
    "password": "/people/me/password/",
    "sessions": "/people/me/sessions/",
    "confirm": "/accounts/reauthenticate/",
    "factors": "/people/me/factors/",
    "factor-app": "/people/me/factors/app/",
    "factor-passkey": "/people/me/factors/passkey/",
    "not-found": "/nothing/here/",
}
# Pages of an admin, beside those.
ADMIN_PAGES = {
    "people": "/people/",
    "invite": "/people/invite/",
    "second-factor": "/people/second-factor/",
    "changes": "/changes/",
    "oversight-minimum": "/mailboxes/minimum/",
    "policy-group-add": "/policy/groups/add/",
    "calendar-add": "/review-plans/calendars/add/",
    "setup": "/setup/",
    "api-keys": "/keys/",
    "webhooks": "/webhooks/",
    "domains": "/domains/",
    "standing": "/policy/standing/",
    "practice": "/policy/practice/",
    "review-report": "/audit/reports/review/",
    "own-word-add": "/rules/words/add/",
    "usual-texts": "/mailboxes/{mailbox}/texts/reject/",
    "reports": "/audit/reports/",
    "report-rights": "/audit/reports/rights/",
}
# Pages of an admin with a policy in force, plans and what waits:
# tests/policy_showcase.py fills in what is in braces.
POLICY_PAGES = {
    "policy with a draft": "/policy/",
    "policy-rule": "/policy/draft/rules/money/",
    "policy-activate": "/policy/draft/activate/",
    "policy-groups with members": "/policy/groups/",
    "policy-group": "{group}",
    "policy-playground with a result": "/policy/playground/?message={two}",
    "policy-versions with changes": "/policy/versions/",
    "policy-version": "/policy/versions/2/",
    "review-plans with a plan": "/review-plans/",
    "review-plan with a ladder": "/review-plans/all/",
    "calendar": "{calendar}",
    "set-apart with a flood": "/queue/apart/",
    "flood": "{flood}",
    "changes that wait": "/changes/",
    "oversight-minimum with mailboxes below": "/mailboxes/minimum/",
}
# The same for a reviewer.
POLICY_REVIEWER_PAGES = {
    "queue with late messages": "/queue/",
    "home with late messages": "/",
    "message with 1 of 2 approvals": "{two}",
    "policy-assign or extend": "{two}handling/",
    "policy-plan as a reviewer": "/review-plans/all/",
    "flood as a reviewer": "{flood}",
}
# Error pages, by the status that the browser reports.
ERRORS = {"404": "/nothing/here/", "405": "{held}verdict/", "500": "{broken}"}
# The other pages: tabs, orders, and a message in each state.
MORE = {
    **{
        f"tab {tab}": f"/queue/?tab={tab}"
        for tab in ("mine", "leaving", "unknown", "failed", "done")
    },
    "search": "/queue/?q=nothing-has-this-word",
    "by risk": "/queue/?order=riskiest",
    "sent-back": "{sent back}",
    **{f"message {state}": f"{{{state}}}" for state in STATES},
    **{f"error {status}": path for status, path in ERRORS.items()},
}
# What opens on a page: where, what is typed as a key or pressed for it one after the
# other, and what is there then.
OPENED = {
    "keys open": ("{held}", ("?",), "#keys[open]"),
    "rejecting": ("{held}", ("#reject > summary",), "#reject .reason"),
    "requesting changes": ("{held}", ("#send-back > summary",), "#send-back .reason"),
    "later": ("{held}", ("#later > summary",), "#later .reason"),
    "snoozing": ("{held}", ("#snooze-button",), "#snooze-button ~ *"),
    "high-risk rejecting": (
        "{crowded}approve/",
        ("#reject > summary",),
        "#reject .reason",
    ),
    "high-risk later": ("{crowded}approve/", ("#later > summary",), "#later .row .btn"),
    "selection": ("/queue/", (".pick",), "#bulk"),
    "sheet of several": ("/queue/", ("#pick-all", "#bulk .go"), ".batch"),
}
