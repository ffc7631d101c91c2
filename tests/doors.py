"""Every address of the desk as a `Door`, by its URL name: what it does, who may use it,
and what a test posts to it.

`tests/integration/test_permissions.py` visits each of them, and docs/permissions.md is
written from this table.
"""

from datetime import timedelta

from django.utils import timezone

from approvals.decisions.shown import finding_name
from policy.errors import seen_state
from policy.rules.changes import in_words
from policy.rules.changes import in_words as list_in_words
from risk.findings import restored
from tests.admin_doors import (
    ACCOUNT_DOORS,
    ALERT_DOORS,
    CONNECTION_DOORS,
    OWN_DOORS,
    PEOPLE_DOORS,
)
from tests.audit_doors import AUDIT_DOORS
from tests.doors_of import EVERYBODY, A, Button, Door, R, pages, writing_button
from tests.push import SUBSCRIPTION

__all__ = ["DOORS", "EVERYBODY", "TASKS"]


def _approval(walk):
    return {
        "outcome": "approve",
        "fingerprint": walk.message.revision.fingerprint,
        "reason": "",
    }


def _tick(walk):
    """The tick of the first finding."""
    revision = walk.message.revision
    name = finding_name(restored(revision.findings[0]))
    return {"name": name, "fingerprint": revision.fingerprint, "is_viewed": "yes"}


# A rule as its form posts it.
_RULE = {"edits": 0, "name": "Two", "approvals_0": 2}

_CALENDAR = {"name": "Night", "zone": "UTC", "day-0": "20:00-24:00", "holidays": ""}


def _plan(walk):
    """A review plan with one target."""
    return {"decision-other": "4 h"}


def _pass(walk):
    """The form of a pass."""
    return {
        "name": "Refunds",
        "keys": f"{walk.connection.pk}:01KEY",
        "mailboxes": walk.mailbox.pk,
        "lists": walk.list.pk,
        "a_day": 20,
        "ends_on": f"{timezone.now() + timedelta(days=30):%Y-%m-%d}",
        "edits": 0,
    }


_DESK_DOORS = {
    **pages(
        "public",
        {
            "healthz": "reports that the process runs",
            "readyz": "reports whether everything that the desk needs runs",
            "live": "redirects to the live stream",
            "live-reach": "gives the live process what a session may see",
            "account_login": "signs in",
        },
    ),
    **pages(
        "own",
        {
            "home": "shows the home page, for what one may see",
            "find": "lists the pages and acts that one may use",
            "patterns": "shows the layouts and components of the pages",
            "home-waiting": "shows what waits on an open home page, for what one may see",
            "queue": "lists what waits, for what one may see",
            "rows": "shows rows of an open list again, for what one may see",
            "pulse": "gives an open page what changed, for what one may see",
            "notices": "lists what one is told",
            "history": "lists past decisions, for what one may see",
            "audit": "lists the ledger, for what one may see",
            "attention": "lists what needs attention, for what one may see",
            "alerts": "lists the destinations of alerts",
            "connections": "shows the status of connections, for what one may see",
            "rules-findings": "lists the risk rules and what they found, for what one may see",
            "stop": "shows what is stopped, for what one may see",
            "stop-banner": "shows the banner of what is stopped, for what one may see",
            "brakes": "lists what came after a cap, for what one may see",
            "caps": "shows how many messages may come in an hour and a day",
            "bulk-done": "shows the results of one's bulk decisions",
            "policy": "shows the policy in force, its draft and its versions",
            "groups-and-hours": "lists the groups of the policy and the calendars",
            "review-plans": "lists the review plans of what one may see, and who is on duty",
            "allowlists": "lists the allowlists, for what one may see",
        },
    ),
    **pages(
        "mailbox",
        {
            "usual-texts": "shows the usual reasons and saved comments of a mailbox",
            "message": "shows a message",
            "message-body": "shows the rendered message",
            "message-original": "shows what a browser makes of the original message",
            "message-view": "shows one view of the message",
            "message-files": "lists the attachments",
            "message-thread": "shows the thread",
            "beside": "shows claims and comments",
            "unread-parts": "lists the parts that one has not opened",
            "decided": "shows the status of one's decision",
            "by-upstream-id": "redirects from MultiMail's id to the message",
            "trace": "shows the audit trail of a message",
            "handling": "shows who has a message, and its deadlines",
            "forecast": "shows what happens with a message if nobody acts",
        },
    ),
    "metrics": Door(
        "gives metrics to a monitor on the same host, or with the token", "host"
    ),
    "csp-report": Button("receives a browser's report of blocked content", "public"),
    "multimail-webhook": Button(
        "receives MultiMail's signed events; nothing without a valid signature",
        "public",
    ),
    "discord-interactions": Button(
        "receives Discord's signed interactions; nothing without a valid signature",
        "public",
    ),
    "slack-interactions": Button(
        "receives Slack's signed interactions; nothing without a valid signature",
        "public",
    ),
    "account_logout": Button("signs out (POST only)", "public"),
    "file-view": Door("shows an attachment safely", "mailbox", needs="file"),
    "message-pictures": Door(
        "shows how far the remote pictures are", "mailbox", needs="pictures"
    ),
    "load-pictures": writing_button(
        "has remote pictures fetched, where the mailbox allows it",
        "mailbox",
        fields=lambda w: {"fingerprint": w.message.revision.fingerprint},
        needs="remote",
    ),
    "picture-view": Door(
        "shows a remote picture that was fetched", "mailbox", needs="pictures"
    ),
    "file-pages": Door("shows the pages of a PDF as pictures", "mailbox", needs="pdf"),
    "file-page": Door("shows one page of a PDF as a picture", "mailbox", needs="pdf"),
    "file-download": Door("downloads an attachment", "mailbox", needs="file"),
    "message-people": Door(
        "offers the names that a comment can mention", "mailbox", (R, A)
    ),
    "message-opened": Button("records that one has the message on screen", "mailbox"),
    "part-opened": writing_button(
        "records that one has read the links",
        "mailbox",
        fields=lambda w: {
            "part": "links",
            "fingerprint": w.message.revision.fingerprint,
        },
    ),
    "viewed": writing_button(
        "ticks an attachment or a finding as viewed",
        "mailbox",
        (R,),
        fields=_tick,
        needs="finding",
    ),
    "text-first": writing_button(
        "makes one's messages open as text",
        "mailbox",
        fields=lambda w: {"wanted": "on"},
    ),
    "verdict": writing_button(
        "approves, rejects or requests changes", "mailbox", (R,), fields=_approval
    ),
    "approve": Door(
        "shows the page to approve a message with care",
        "mailbox",
        (R,),
        is_gentle=True,
    ),
    "edit-message": Door(
        "sends a corrected message for review, or suggests a text",
        "mailbox",
        (R,),
        writes=True,
        fields=lambda w: {
            "to": "dana@northwind.example",
            "subject": "Refund",
            "markdown": "Hello.",
            "note": "Say less.",
            "do": "suggest",
            "fingerprint": w.message.revision.fingerprint,
            "reference": "0123456789",
        },
    ),
    "edit-preview": Button(
        "shows a preview of a typed text",
        "mailbox",
        fields=lambda w: {"markdown": "Hello."},
    ),
    "finish-edit": writing_button(
        "rejects what was replaced, where both are held", "mailbox", (R,), needs="half"
    ),
    "undo": writing_button(
        "undoes a decision that has not been sent", "mailbox", (R,), needs="leaving"
    ),
    "take-back": writing_button(
        "takes one's own approval back", "mailbox", (R,), needs="approval"
    ),
    "withdraw": writing_button(
        "withdraws a decision that may have been sent", "mailbox", (R,), needs="doubt"
    ),
    "send-again": writing_button(
        "sends an approval again that had no effect", "mailbox", (R,), needs="doubt"
    ),
    "settle": writing_button(
        "settles a decision whose outcome nothing tells",
        "mailbox",
        (R, A),
        fields=lambda w: {"took_effect": "yes"},
        needs="untold",
    ),
    "look": writing_button("asks MultiMail about the message", "mailbox", (R, A)),
    "look-again": writing_button("asks MultiMail about the message", "mailbox", (R, A)),
    "brake": Door("shows the messages of a flood", "mailbox", needs="brake"),
    "put-back": writing_button(
        "puts the messages of a flood into the queue", "mailbox", (R, A), needs="brake"
    ),
    "pause-key-of-flood": writing_button(
        "pauses the API key of a flood", "mailbox", (R, A), sure=True, needs="brake"
    ),
    "set-caps": writing_button(
        "sets the limits of all mailboxes",
        "desk",
        (A,),
        sure=True,
        fields=lambda w: {"key_hour": 5},
    ),
    "bulk": Door(
        "shows several messages on one sheet, to decide them",
        "own",
        fields=lambda w: {"id": [w.message_id]},
    ),
    "bulk-seen": Button(
        "records what one has read of a sheet", "own", fields=lambda w: w.sheet()
    ),
    "bulk-decide": writing_button(
        "decides the messages on the sheet",
        "mailbox",
        (R,),
        sure=True,
        is_gentle=True,
        fields=lambda w: w.sheet(),
    ),
    "bulk-undo": Button(
        "undoes one's bulk decisions", "own", fields=lambda w: {"of": "1-1"}
    ),
    "claim": writing_button("claims a message", "mailbox", (R,)),
    "release-claim": writing_button("releases one's claim", "mailbox", needs="claim"),
    "snooze": writing_button(
        "snoozes a message", "mailbox", fields=lambda w: {"wait": "hour"}
    ),
    "end-snooze": writing_button("ends a snooze", "mailbox", needs="snooze"),
    "comment": writing_button(
        "comments on a message",
        "mailbox",
        (R, A),
        fields=lambda w: {"text": "Look here."},
    ),
    "notice-preferences": Door(
        "sets what one is mailed, and when",
        "own",
        writes=True,
        fields=lambda w: {"mail_after": 7},
    ),
    "stop-mail": Door("ends the mails of one kind, by the link in one", "public"),
    "browsers": Door("lists the browsers that get one's notifications", "own"),
    "add-browser": Button(
        "switches notifications of a browser on",
        "own",
        fields=lambda walk: SUBSCRIPTION,
    ),
    "remove-browser": Button(
        "switches notifications of a browser off", "own", needs="browser"
    ),
    "plan-forecast": Door(
        "shows what a review plan does if nobody acts, for what one may see", "own"
    ),
    "ways": Door("tests each way to oneself", "own"),
    "service-worker": Door("is the script that shows notifications", "public"),
    "manifest": Door("says how the desk is installed as an app", "public"),
    "mail-me-again": Button("is mailed again after mail came back", "own"),
    "notice": Door("opens what a notice of one's own is about", "own", needs="notice"),
    "read-notice": Button("marks a notice of one's own as read", "own", needs="notice"),
    "read-notices": Button("marks all one's notices as read", "own"),
    "save-view": writing_button(
        "saves a view of the queue for oneself",
        "own",
        fields=lambda w: {"name": "Mine"},
    ),
    "delete-view": Button("deletes a view of one's own", "own", needs="view"),
    "assign": writing_button(
        "assigns a message",
        "mailbox",
        (R, A),
        fields=lambda w: {"to": w.other.pk},
        needs="person",
    ),
    "extend": writing_button(
        "extends the deadlines of a message",
        "mailbox",
        (R, A),
        fields=lambda w: {"until": w.tomorrow, "reason": "Dana calls back."},
        needs="deadline",
    ),
    "read-connection": writing_button("reads a connection now", "mailbox", (R, A)),
    "replay-event": writing_button(
        "applies a stored webhook again", "connection", (A,), needs="poison"
    ),
    "compare-event": writing_button(
        "dismisses a late webhook and asks MultiMail",
        "connection",
        (A,),
        needs="poison",
    ),
    "dismiss-event": writing_button(
        "dismisses a stored webhook", "connection", (A,), needs="poison"
    ),
    "settle-group": writing_button(
        "does the action for several items with one cause",
        "connection",
        (A,),
        needs="poison",
    ),
    "save-usual-texts": writing_button(
        "changes the usual reasons or saved comments of a mailbox",
        "mailbox",
        (A,),
        fields=lambda w: {
            "order-1": "1",
            "label-1": "Wrong price",
            "words-1": "The price is not ours.",
        },
    ),
    "pull-switch": writing_button(
        "stops the decisions of all, a connection or a mailbox",
        "connection",
        (R, A),
        is_gentle=True,
        fields=lambda w: {"scope": f"connection-{w.connection.pk}", "reason": "Wait"},
    ),
    "release-switch": writing_button(
        "releases the kill switch", "connection", (A,), sure=True
    ),
    "hold-all": writing_button(
        "holds all mail at our gateway, or releases it",
        "connection",
        (A,),
        fields=lambda w: {"hold": "on"},
    ),
    "begin-draft": writing_button("begins a draft of the policy", "desk", (A,)),
    "discard-draft": writing_button(
        "discards the draft of the policy",
        "desk",
        (A,),
        fields=lambda w: {"edits": 0},
        needs="draft",
    ),
    "activate-draft": Door(
        "activates the draft of the policy",
        "desk",
        (A,),
        writes=True,
        sure=True,
        fields=lambda w: {"edits": 0, "active": 0},
        needs="draft",
    ),
    "add-policy-rule": Door(
        "adds a rule to the draft of the policy",
        "desk",
        (A,),
        writes=True,
        fields=lambda w: _RULE,
        needs="draft",
    ),
    "policy-rule": Door(
        "changes a rule of the draft of the policy",
        "desk",
        (A,),
        writes=True,
        fields=lambda w: _RULE,
        needs="draft",
    ),
    "add-policy-pass": Door(
        "adds a pass to the draft of the policy",
        "desk",
        (A,),
        writes=True,
        fields=_pass,
        needs="draft_pass",
    ),
    "policy-pass": Door(
        "changes a pass of the draft of the policy",
        "desk",
        (A,),
        writes=True,
        fields=_pass,
        needs="draft_pass",
    ),
    "delete-policy-part": writing_button(
        "deletes a rule or pass of the draft of the policy",
        "desk",
        (A,),
        fields=lambda w: {"edits": 0},
        needs="draft",
    ),
    "policy-version": Door("shows a version of the policy", "own", needs="policy"),
    "add-policy-group": Door(
        "adds a group to the policy",
        "desk",
        (A,),
        writes=True,
        fields=lambda w: {"name": "Finance"},
    ),
    "policy-group": Door(
        "changes a group of the policy",
        "desk",
        (A,),
        writes=True,
        sure=True,
        fields=lambda w: {"name": "Finance", "seen": seen_state(in_words(w.row))},
        needs="policy_group",
    ),
    "delete-policy-group": writing_button(
        "deletes a group of the policy", "desk", (A,), needs="policy_group"
    ),
    "try-policy": Door(
        "tries the policy or its draft on messages that one may see",
        "own",
        query=lambda w: {"message": w.message_id},
    ),
    "review-plan": Door(
        "sets the review plan of a mailbox", "mailbox", (A,), writes=True, fields=_plan
    ),
    "remove-review-plan": writing_button(
        "removes a review plan", "mailbox", (A,), needs="plan"
    ),
    "add-duty": Button(
        "puts somebody on duty, for what one administers",
        "own",
        (A,),
        is_gentle=True,
        fields=lambda w: {"person": w.other.pk, "mailbox": w.mailbox.pk},
        needs="person",
    ),
    "end-duty": writing_button("ends somebody's duty", "mailbox", (A,), needs="turn"),
    "add-calendar": Door(
        "makes a calendar", "desk", (A,), writes=True, fields=lambda w: _CALENDAR
    ),
    "calendar": Door(
        "changes a calendar",
        "desk",
        (A,),
        writes=True,
        sure=True,
        fields=lambda w: {**_CALENDAR, "seen": seen_state(in_words(w.row))},
        needs="calendar",
    ),
    "delete-calendar": writing_button(
        "deletes a calendar", "desk", (A,), needs="calendar"
    ),
    "allowlist": Door("shows an allowlist with its entries", "mailbox", needs="list"),
    "add-allowlist": writing_button(
        "makes an allowlist; for a mailbox or connection, an admin of it may",
        "desk",
        (A,),
        is_gentle=True,
        fields=lambda w: {"name": "Ours", "target": "all"},
    ),
    "delete-allowlist": writing_button(
        "deletes an allowlist", "mailbox", (A,), needs="list"
    ),
    "change-allowlist": writing_button(
        "changes the entries of an allowlist",
        "mailbox",
        (A,),
        sure=True,
        fields=lambda w: {
            "lines": "more.example",
            "seen": seen_state(list_in_words(w.list)),
        },
        needs="list",
    ),
    "keys": writing_button(
        "switches one's keyboard shortcuts off or on",
        "own",
        fields=lambda w: {"do": "off"},
    ),
}

DOORS = {
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
    "approvals.tasks.execute_decision": "carries out a due decision",
    "approvals.tasks.tell_expiry": "tells our gateway until when a message may be approved",
    "approvals.tasks.execute_due": "carries out every due decision",
    "approvals.tasks.read_connection": "reads what MultiMail holds",
    "approvals.tasks.count_unsigned": "stores how many webhooks with a wrong signature came within a day",
    "approvals.tasks.check_reports": "reads whether what webhooks reported of held messages is true",
    "mirror.tasks.survey": "asks MultiMail what it can do at a connection",
    "policy.tasks.bring_minimum": "brings the minimum oversight mode to one gateway",
    "policy.tasks.tell_stops": "tells one gateway which mailboxes the kill switch stops",
    "policy.tasks.push_list": "copies one allowlist to the gate",
    "policy.tasks.read_refusals": "reads the refusals of a connection's gate",
    "policy.tasks.read_all_refusals": "does so for all connections",
    "mirror.tasks.read_account": "reads mailboxes, contacts and suppressed addresses of a connection",
    "mirror.tasks.read_accounts": "does so for all connections",
    "approvals.tasks.send_replacement": "sends a corrected message for review, and rejects the one that it replaces",
    "approvals.tasks.resolve_decision": "resolves a decision whose outcome is unknown",
    "approvals.tasks.ask_about": "asks MultiMail about a message",
    "mirror.tasks.fetch_file": "fetches an attachment",
    "approvals.tasks.fetch_pictures": "fetches the remote pictures of a message that a person asked for",
    "mirror.tasks.read_thread": "reads a thread",
    "mirror.tasks.freshen_thread": "reads the thread of a message again",
    "approvals.tasks.sweep": "finds rows whose wake-up was lost; rejects expired messages, never approves",
    "approvals.tasks.reconcile_all": "reads every connection",
    "mirror.tasks.forget": "deletes data whose retention time is over",
    "alerts.tasks.plan": "plans what destinations are told of acts",
    "alerts.tasks.drain": "sends what is due at a destination",
    "alerts.tasks.answer_interaction": "carries out a Discord command or a press that had to wait, and answers it",
    "alerts.tasks.sweep": "finds destinations whose wake-up was lost",
    "alerts.tasks.witness": "posts heads of the ledger to witnesses",
    "notices.tasks.summarise": "tells people each morning what waits",
    "notices.tasks.forget": "deletes old notices",
    "audit.tasks.seal": "seals new entries",
    "audit.tasks.check": "checks the whole ledger",
    "audit.tasks.check_daily": "does so once a day",
    "audit.tasks.forget_details": "removes personal details whose retention time is over",
    "dashboard.tasks.tick": "runs a periodic job once per period",
}
