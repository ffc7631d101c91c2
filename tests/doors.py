"""Every address of the desk as a door: what it does, who may go through, and what is posted to go through it.

`tests/integration/test_permissions.py` walks through them, and docs/permissions.md is written from them.
"""

from collections.abc import Mapping
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile

from policy.allowlists.changes import Wanted
from policy.allowlists.drafts import Draft, pack
from policy.allowlists.judgement import Place
from policy.allowlists.scopes import ListAt
from tests.admin_doors import ACCOUNT_DOORS, ALERT_DOORS, CONNECTION_DOORS, OWN_DOORS, PEOPLE_DOORS
from tests.audit_doors import AUDIT_DOORS
from tests.doors_of import EVERYBODY, A, Door, Fields, R, nothing

__all__ = ["DOORS", "EVERYBODY", "TASKS"]


def _verdict(outcome: str, reason: str = "") -> Fields:
    return lambda walk: {"outcome": outcome, "fingerprint": walk.message.revision.fingerprint, "reason": reason}


def _list_change(walk: Any) -> Mapping[str, Any]:
    """One more entry of the mailbox's list, as its preview would carry it to the button that saves it."""
    at = ListAt(Place(mailbox=walk.mailbox.pk), "restriction", str(walk.mailbox), None)
    return {"change": pack(Draft(put=(Wanted("more.example"),)), at, walk.person.actor(surface="web"))}


_DESK_DOORS = {
    # --- outside
    "healthz": Door("says that the process runs", "public"),
    "readyz": Door("says whether everything runs that the desk needs", "public"),
    "metrics": Door("tells numbers to a monitor on the same host, or with its token", "host"),
    "live": Door("leads to the live stream", "public"),
    "live-reach": Door("tells the live process what a session may see", "public"),
    "csp-report": Door("takes a browser's report of something it blocked", "public"),
    "multimail-webhook": Door("takes MultiMail's signed events; nothing without a valid signature", "public"),
    "discord-interactions": Door("takes what Discord signed; nothing without a valid signature", "public"),
    "account_login": Door("signs in", "public"),
    "account_logout": Door("signs out, by a button only", "public"),
    # --- reading
    "home": Door("shows how the desk stands, of what one sees", "own"),
    "queue": Door("lists what waits, of what one sees", "own"),
    "pulse": Door("tells an open page what changed, of what one sees", "own"),
    "history": Door("lists what was decided, of what one sees", "own"),
    "audit": Door("lists the ledger, of what one sees", "own"),
    "attention": Door("lists what is stuck, of what one sees", "own"),
    "alerts": Door("lists where alerts go", "own"),
    "connections": Door("shows how the connections stand, of what one sees", "own"),
    "rules-findings": Door("lists the published rules", "own"),
    "rule": Door("shows a rule and what it saw, of what one sees", "own"),
    "stop": Door("shows what is stopped, of what one sees", "own"),
    "stop-banner": Door("shows the banner of what is stopped, of what one sees", "own"),
    "message": Door("shows a message", "mailbox"),
    "message-body": Door("shows the letter, laid out", "mailbox"),
    "message-letter": Door("shows a letter of the thread", "mailbox"),
    "message-files": Door("lists the attached files", "mailbox"),
    "file-view": Door("shows an attached file, harmless", "mailbox", needs="file"),
    "file-download": Door("hands out an attached file", "mailbox", needs="file"),
    "message-thread": Door("shows the thread", "mailbox"),
    "beside": Door("shows who has the message and what was said", "mailbox"),
    "unread-parts": Door("lists what one has not opened", "mailbox"),
    "decided": Door("shows what became of one's decision", "mailbox"),
    "by-upstream-id": Door("leads from MultiMail's id to the message", "mailbox"),
    "trace": Door("tells the story of one message", "mailbox"),
    # --- reading that is noted
    "message-opened": Door("notes that one has the message on screen", "mailbox", fields=nothing),
    "part-opened": Door(
        "notes that one has read the links", "mailbox", writes=True, fields=lambda w: {"part": "links"}
    ),
    "presence": Door("notes that one reads the message now", "mailbox", fields=nothing),
    "text-first": Door("lets one's letters open as text", "mailbox", writes=True, fields=lambda w: {"wanted": "on"}),
    # --- deciding
    "verdict": Door("approves, rejects or sends back", "mailbox", (R,), writes=True, fields=_verdict("approve")),
    "approve": Door("reads the findings of a message of high risk, to approve it", "mailbox", (R,), is_gentle=True),
    "allow-address": Door(
        *("lets a recipient be written to for seven days", "mailbox", (A,)),
        writes=True,
        sure=True,
        fields=lambda w: {"address": "dana@northwind.example"},
        needs="list",
    ),
    "undo": Door(
        "takes a decision back that has not left", "mailbox", (R,), writes=True, fields=nothing, needs="leaving"
    ),
    "withdraw": Door(
        "stops a decision that may have left", "mailbox", (R,), writes=True, fields=nothing, needs="doubt"
    ),
    "send-again": Door(
        "lets an approval go out again that had no effect", "mailbox", (R,), writes=True, fields=nothing, needs="doubt"
    ),
    "settle": Door(
        *("says what became of a decision that nobody tells of", "mailbox", (R, A)),
        writes=True,
        fields=lambda w: {"took_effect": "yes"},
        needs="untold",
    ),
    "look": Door("has MultiMail asked about the message", "mailbox", (R, A), writes=True, fields=nothing),
    "look-again": Door("has MultiMail asked about the message", "mailbox", (R, A), writes=True, fields=nothing),
    "carry-out": Door("has what is due carried out now", "mailbox", (R, A), fields=nothing, needs="stalled"),
    "bulk": Door(
        "shows several messages whole, to decide them together", "own", fields=lambda w: {"id": [w.message_id]}
    ),
    "bulk-decide": Door(
        *("decides several messages that were on the sheet", "mailbox", (R,)),
        writes=True,
        sure=True,
        is_gentle=True,
        fields=lambda w: w.sheet(),
    ),
    "bulk-done": Door("shows what became of several decisions of one's own", "own"),
    "bulk-undo": Door("takes several decisions of one's own back", "own", fields=lambda w: {"of": "1-1"}),
    # --- beside deciding
    "claim": Door("takes a message on", "mailbox", (R,), writes=True, fields=nothing),
    "release-claim": Door(
        "gives a message free that one has taken on", "mailbox", writes=True, fields=nothing, needs="claim"
    ),
    "snooze": Door("puts a message off for oneself", "mailbox", writes=True, fields=lambda w: {"wait": "hour"}),
    "end-snooze": Door("brings a message back for oneself", "mailbox", writes=True, fields=nothing, needs="snooze"),
    "comment": Door("comments on a message", "mailbox", (R, A), writes=True, fields=lambda w: {"text": "Look here."}),
    "save-view": Door("saves a view of the queue for oneself", "own", writes=True, fields=lambda w: {"name": "Mine"}),
    "delete-view": Door("deletes a view of one's own", "own", fields=nothing, needs="view"),
    # --- setting the desk up
    "read-connection": Door("has an account read now", "mailbox", (R, A), writes=True, fields=nothing),
    "replay-event": Door(
        "applies a kept webhook again", "connection", (A,), writes=True, fields=nothing, needs="poison"
    ),
    "compare-event": Door(
        "puts a late webhook away and asks MultiMail", "connection", (A,), writes=True, fields=nothing, needs="poison"
    ),
    "dismiss-event": Door("puts a kept webhook away", "connection", (A,), writes=True, fields=nothing, needs="poison"),
    "settle-group": Door(
        *("does the act of several items that have one cause", "connection", (A,)),
        writes=True,
        fields=nothing,
        needs="poison",
    ),
    "weigh-rule": Door("gives a rule other points", "desk", (A,), writes=True, fields=lambda w: {"points": "3"}),
    "pull-switch": Door(
        *("stops the decisions of all, a connection or a mailbox", "connection", (R, A)),
        writes=True,
        is_gentle=True,
        fields=lambda w: {"scope": f"connection-{w.connection.pk}", "reason": "Wait"},
    ),
    "release-switch": Door(
        "lets what was stopped go again", "connection", (A,), writes=True, sure=True, fields=nothing
    ),
    "hold-all": Door(
        *("lets our gateway hold all mail, or ends that", "connection", (A,)),
        writes=True,
        fields=lambda w: {"hold": "on"},
    ),
    # --- allowlists
    "allowlists": Door("lists the allowlists, of what one sees", "own"),
    "allowlist": Door("shows an allowlist with its entries", "mailbox"),
    "allowlist-history": Door("tells what was changed in an allowlist", "mailbox"),
    "allow-entry": Door("shows an entry of an allowlist, and what was changed in it", "mailbox", needs="entry"),
    "preview-allowlist": Door(
        "shows what a change of an allowlist would do", "mailbox", (A,), fields=lambda w: {"lines": "more.example"}
    ),
    "save-allowlist": Door(
        "saves a change of an allowlist", "mailbox", (A,), writes=True, sure=True, fields=_list_change
    ),
    "import-allowlist": Door("shows the form that takes a file of entries", "mailbox", sure=True),
    "preview-import": Door(
        *("shows what a file would change in an allowlist", "mailbox", (A,)),
        fields=lambda w: {"how": "add", "file": SimpleUploadedFile("list.csv", b"pattern\nmore.example\n")},
    ),
    "export-allowlist": Door("hands out an allowlist as a file", "mailbox", writes=True, sure=True, fields=nothing),
    "push-list": Door(
        "has an allowlist brought to its gate now",
        "mailbox",
        (A,),
        writes=True,
        sure=True,
        fields=nothing,
        needs="gate",
    ),
    "refusals": Door("lists what the gates refused, of what one sees", "own"),
    "allow-refused": Door(
        *("lets a refused address be written to for a week", "mailbox", (A,)),
        writes=True,
        sure=True,
        fields=lambda w: {"address": "dana@x.example"},
        needs="refusal",
    ),
    "keys": Door("moves one's own keys", "own", writes=True, fields=lambda w: {"do": "off"}),
}

DOORS: dict[str, Door] = {
    **_DESK_DOORS,
    **OWN_DOORS,
    **PEOPLE_DOORS,
    **CONNECTION_DOORS,
    **ACCOUNT_DOORS,
    **ALERT_DOORS,
    **AUDIT_DOORS,
}


# Every task, and what it does without being asked by a person.
TASKS = {
    "approvals.tasks.hydrate": "fetches the content of a message",
    "approvals.tasks.execute_decision": "carries a decision out that is due",
    "approvals.tasks.execute_due": "carries out what is due",
    "approvals.tasks.read_connection": "reads what MultiMail holds",
    "approvals.tasks.read_suppressed": "reads whom MultiMail writes to no more",
    "approvals.tasks.read_all_suppressed": "has that read for all connections",
    "approvals.tasks.read_contacts": "reads the contacts of an account",
    "approvals.tasks.read_all_contacts": "has that read for all connections",
    "approvals.tasks.count_hits": "counts what entries of allowlists let through",
    "approvals.tasks.push_list": "brings one allowlist to the gate of a mailbox",
    "approvals.tasks.push_lists": "brings allowlists to the gates that lack them",
    "approvals.tasks.read_refusals": "reads what the gate of a connection refused",
    "approvals.tasks.read_all_refusals": "has that read for all connections",
    "approvals.tasks.read_mailboxes": "reads how the mailboxes of a connection are set",
    "approvals.tasks.read_all_mailboxes": "has that read for all connections",
    "approvals.tasks.resolve_decision": "finds out what became of a decision in doubt",
    "approvals.tasks.ask_about": "asks MultiMail about a message",
    "approvals.tasks.fetch_file": "fetches an attached file",
    "approvals.tasks.read_thread": "reads a thread",
    "approvals.tasks.freshen_thread": "has the thread of a message read again",
    "approvals.tasks.hear_of_letter": "looks whether a letter came after a draft",
    "approvals.tasks.sweep": "finds what nobody was told to do; rejects what has expired, never approves",
    "approvals.tasks.fill_facets": "works out what the queue filters by",
    "approvals.tasks.weigh_anew": "weighs what is held by changed rules",
    "approvals.tasks.reconcile_all": "has every connection read",
    "approvals.tasks.forget": "deletes what is kept for a time only",
    "alerts.tasks.deliver": "tells the place of one delivery what is due there",
    "alerts.tasks.drain": "tells a place what is due there",
    "alerts.tasks.judge_press": "judges a press on Discord that had to wait, and answers it",
    "alerts.tasks.run_command": "carries out a command that was given on Discord, and answers it",
    "alerts.tasks.sweep": "finds places that nobody was told to tell what is due",
    "alerts.tasks.witness": "posts heads of the ledger where others keep them",
    "audit.tasks.seal": "seals what nothing can come before any more",
    "audit.tasks.check": "looks through the whole ledger",
    "audit.tasks.check_daily": "has that done once a day",
    "audit.tasks.forget_details": "removes personal details that were kept long enough",
    "dashboard.tasks.tick": "runs a job once a period",
}
