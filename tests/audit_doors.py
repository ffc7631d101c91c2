"""Addresses of the site about the ledger (searches, exports, proofs, reports): what
each does and who may use it (see `tests/doors.py`).
"""

from tests.doors_of import A, Button, Door, U, pages, writing_button

AUDIT_DOORS = {
    **pages(
        "own",
        {
            "ledger-state": "shows the ledger status and the results of checks",
            "newest-head": "downloads the ledger's newest checkpoint",
            "verifier": "downloads the verifier",
        },
    ),
    "seen-decision": Door(
        "shows a past verdict as it was seen", "mailbox", needs="verdict"
    ),
    "trace-proof-json": writing_button(
        "downloads the proof of a message", "mailbox", needs="seal"
    ),
    "trace-proof-html": writing_button(
        "downloads the readable page of a proof", "mailbox", needs="seal"
    ),
    "seen-body": Door(
        "shows the rendered message of a past verdict", "mailbox", needs="verdict"
    ),
    "save-search": writing_button(
        "saves a search of the ledger", "own", fields=lambda w: {"name": "Mine"}
    ),
    "delete-search": Button("deletes one's saved search", "own", needs="search"),
    "reports": Door("lists the reports", "own", (A, U)),
    "report-decisions": Door(
        "reports who decided what in a month, for what one may see", "own", (A, U)
    ),
    "report-rights": Door(
        "reports who could decide where at a moment, for what one may see",
        "own",
        (A, U),
    ),
    "check-ledger": Button("starts a check of the whole ledger", "desk", (A, U)),
    "compare-ledger": Button(
        "compares the ledger with a checkpoint or checks a proof",
        "own",
        fields=lambda w: {"pasted": "none"},
    ),
    "export": Door(
        "exports entries, for what one may see",
        "own",
        (A, U),
        writes=True,
        sure=True,
        fields=lambda w: {"format": "csv", "details": "on"},
    ),
}
