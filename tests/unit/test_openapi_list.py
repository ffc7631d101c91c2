"""What the desk relies on of MultiMail's API is in the list of its OpenAPI document, or
has another source.
"""

import inspect
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from types import UnionType
from typing import get_args, get_origin

import pytest

from connections.keys.commands import SCOPES
from mirror.oversight_modes import NAMES
from tests.openapi import listed, stored
from upstream import client
from upstream.admin import AdminClient
from upstream.agent import Agent
from upstream.wire import Answer

PAGE = Path(__file__).parents[2] / "docs" / "multimail.md"
# What callers of `upstream` put into the bodies that it passes on.
PASSED_ON = {
    "PATCH /v1/account": "minimum_oversight_mode",
    "POST /v1/webhooks": "url events mailbox_id secret include_sandbox approval_code",
    "POST /v1/mailboxes": "address address_local display_name oversight_mode approval_code",
    "PATCH /v1/mailboxes/{}": "display_name oversight_mode auto_cc auto_bcc signature_block forward_inbound "
    "commercial scheduling_enabled default_gate_timing simplify_html allow_looser_per_call require_fingerprint "
    "approval_code",
    "DELETE /v1/mailboxes/{}": "approval_code",
    "POST /v1/api-keys": "name scopes mailboxes sandbox approval_code",
    "PATCH /v1/api-keys/{}": "name scopes mailboxes paused approval_code",
    "DELETE /v1/api-keys/{}": "approval_code",
    "POST /v1/oversight/decide": "suggested_markdown replaced_by changes",
    "POST /v1/mailboxes/{}/send": "to cc bcc subject markdown html reply_to attachments send_at gate_timing "
    "metadata replaces",
    "POST /v1/send_email": "cc bcc markdown html reply_to send_at gate_timing replaces",
}
# What the desk reads of answers.
READ = {
    "GET /v1/account": "id scopes hold_all minimum_oversight_mode",
    "PATCH /v1/account": "hold_all require_fingerprint minimum_oversight_mode",
    "GET /v1/mailboxes": "mailboxes.id mailboxes.address mailboxes.display_name mailboxes.oversight_mode "
    "mailboxes.auto_cc mailboxes.auto_bcc mailboxes.signature_block mailboxes.forward_inbound mailboxes.is_active "
    "mailboxes.commercial mailboxes.simplify_html mailboxes.account_requires_fingerprint",
    "POST /v1/mailboxes": "id address",
    "GET /v1/mailboxes/{}/emails/{}": "id from to cc bcc subject markdown html_body status thread_id received_at "
    "attachments.name attachments.size attachments.content_type attachments.sha256 direction metadata decision reason "
    "decided_by approved_at approved_by delivered_at bounced_at",
    "GET /v1/mailboxes/{}/threads/{}": "emails.id emails.from emails.to emails.subject emails.direction emails.status "
    "emails.received_at emails.has_attachments emails.markdown truncated",
    "POST /v1/mailboxes/{}/send": "id",
    "POST /v1/mailboxes/{}/reply/{}": "id",
    "GET /v1/contacts": "contacts.email cursor",
    "GET /v1/suppression": "suppressions.email_address suppressions.reason cursor",
    "GET /v1/oversight/pending": "emails.id emails.mailbox_id emails.direction emails.from emails.to emails.subject "
    "emails.body_markdown emails.status emails.received_at emails.cc emails.bcc emails.attachments emails.thread_id "
    "emails.metadata emails.send_at emails.sandbox emails.sent_by_key emails.additions cursor",
    "POST /v1/oversight/decide": "status",
    "GET /v1/webhooks": "subscriptions.id subscriptions.url subscriptions.events subscriptions.mailbox_id "
    "subscriptions.created_at subscriptions.is_active subscriptions.last_error",
    "POST /v1/webhooks": "id signing_secret",
    "GET /v1/webhooks/{}": "id url events mailbox_id signing_secret previous_secret_until",
    "GET /v1/webhook-deliveries": "deliveries.id deliveries.event_type deliveries.url deliveries.status "
    "deliveries.attempts deliveries.response_status deliveries.created_at deliveries.last_attempt_at cursor "
    "deliveries.event_id deliveries.webhook_id deliveries.last_error deliveries.next_attempt_at",
    "GET /v1/api-keys": "api_keys.id api_keys.name api_keys.prefix api_keys.scopes api_keys.created_at "
    "api_keys.last_used_at api_keys.is_active api_keys.mailboxes api_keys.sandbox api_keys.paused_at",
    "POST /v1/api-keys": "id api_key prefix name scopes",
    "GET /v1/audit-log": "entries.action entries.resource_id entries.actor_key_id",
    "GET /v1/domains": "domains.id domains.domain domains.status domains.dns_records domains.looked_at",
}
# The words that the desk knows or sends.
WORDS = {
    "POST /v1/oversight/decide": {
        "action": "approve reject",
        "status": "approved approved_and_sent rejected",
    },
    "PATCH /v1/mailboxes/{}": {"oversight_mode": " ".join(NAMES)},
    "POST /v1/mailboxes/{}/request-upgrade": {"target_mode": " ".join(NAMES)},
    "POST /v1/mailboxes/{}/send": {"gate_timing": "gate_first schedule_first"},
    "GET /v1/mailboxes/{}/emails/{}": {
        "status": "pending_send_approval pending_inbound_approval unread read archived scheduled send_failed rejected "
        "cancelled sent"
    },
    "POST /v1/api-keys": {"scopes": " ".join(SCOPES)},
    "GET /v1/domains": {"domains.status": "active"},
}


def from_(letters, names):
    return dict.fromkeys(names.split(), letters)


# What the document does not list, with the letters of its sources in docs/multimail.md:
# operations, or names in them.
ELSEWHERE = {
    "GET /v1/emails/{}": "Z",
    "GET /v1/check_inbox": "P",
    "POST /v1/send_email": "P",
    "GET /v1/mailboxes/{}/allowlist": "N",
    "PUT /v1/mailboxes/{}/allowlist": "G",
    "GET /v1/oversight/pending/{}/original": "G",
    "GET /v1/oversight/pending/{}/attachments/{}": "G",
    "POST /v1/oversight/expiry": "G",
    "GET /v1/refusals": "G",
    "GET /v1/upgrade-requests": "G",
    "POST /v1/webhooks/{}/test": "G",
    "POST /v1/webhooks/{}/rotate": "G",
    "POST /v1/webhook-deliveries/{}/replay": "G",
    "POST /v1/domains/{}/rotate-dkim": "G",
    "GET /v1/account": from_("G", "hold_all minimum_oversight_mode scopes"),
    "PATCH /v1/account": from_(
        "G", "hold_all minimum_oversight_mode require_fingerprint"
    ),
    "GET /v1/mailboxes": from_(
        "G",
        "mailboxes.account_requires_fingerprint mailboxes.commercial mailboxes.simplify_html",
    ),
    "POST /v1/mailboxes": from_("M", "approval_code"),
    "DELETE /v1/mailboxes/{}": from_("N", "approval_code"),
    "PATCH /v1/mailboxes/{}": from_(
        "M", "approval_code default_gate_timing scheduling_enabled"
    )
    | from_("G", "allow_looser_per_call commercial require_fingerprint simplify_html"),
    "GET /v1/mailboxes/{}/emails/{}": from_("P", "metadata")
    | from_("S", "direction")
    | from_("C", "bcc decided_by decision html_body reason status=sent")
    | from_("G", "attachments.sha256"),
    "GET /v1/mailboxes/{}/threads/{}": from_("G", "bodies emails.markdown truncated"),
    "POST /v1/mailboxes/{}/send": from_("P", "metadata oversight_mode")
    | from_("Z", "reply_to")
    | from_("C", "html")
    | from_("G", "replaces"),
    "POST /v1/mailboxes/{}/reply/{}": from_("P", "metadata"),
    "GET /v1/contacts": from_("C", "cursor limit"),
    "GET /v1/suppression": from_("S M", "cursor limit"),
    "GET /v1/oversight/pending": from_(
        "C",
        "cursor emails.cc emails.bcc emails.attachments emails.send_at emails.thread_id",
    )
    | from_("P", "emails.metadata")
    | from_("G", "email_id emails.additions emails.sandbox emails.sent_by_key only"),
    "POST /v1/oversight/decide": from_("M P", "reason")
    | from_(
        "G", "changes decided_by expected_fingerprint replaced_by suggested_markdown"
    ),
    "GET /v1/webhooks": from_("G", "subscriptions.is_active subscriptions.last_error"),
    "POST /v1/webhooks": from_("M", "approval_code")
    | from_("S", "secret")
    | from_("G", "include_sandbox"),
    "GET /v1/webhooks/{}": from_("G", "previous_secret_until"),
    "GET /v1/webhook-deliveries": from_(
        "G",
        "webhook_id deliveries.event_id deliveries.last_error deliveries.next_attempt_at deliveries.webhook_id",
    ),
    "GET /v1/api-keys": from_(
        "G", "api_keys.mailboxes api_keys.paused_at api_keys.sandbox"
    ),
    "POST /v1/api-keys": from_("M", "approval_code")
    | from_("P", "scopes=oversight_read")
    | from_("G", "mailboxes sandbox"),
    "PATCH /v1/api-keys/{}": from_("M", "approval_code")
    | from_("G", "mailboxes paused"),
    "GET /v1/domains": from_("G", "domains.looked_at"),
}
VALUES = {
    str: "PART",
    bool: True,
    int: 1,
    float: 1.0,
    datetime: datetime(2026, 6, 1, tzinfo=UTC),
    dict: {},
    list: [],
}
# An answer to whatever a client looks for, without a next page.
_LISTS = (
    *(
        "emails",
        "mailboxes",
        "webhooks",
        "requests",
        "domains",
        "api_keys",
        "entries",
        "contacts",
        "suppressions",
    ),
    *("deliveries", "refusals"),
)
ANSWER = {name: [] for name in _LISTS} | {"id": "x", "mode": "off", "version": 1}


def filled(argument):
    kind = argument.annotation
    kinds = (
        [get_origin(kind) or kind]
        if get_origin(kind) is not UnionType
        else get_args(kind)
    )
    return next((VALUES[one] for one in kinds if one in VALUES), argument.default)


def asked():
    """Call every method of the clients; return each operation with the parameters and
    fields that it sends.
    """
    found = {}

    def exchange(method, url, *, body, **_):
        target, _, query = url.partition("?")
        operation = f"{method} {target.replace('PART', '{}')}"
        found.setdefault(operation, set()).update(
            re.findall("([^&=]+)=", query), json.loads(body or b"{}")
        )
        return Answer(200, {}, json.dumps(ANSWER).encode())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "exchange", exchange)
        admin = AdminClient(base_url="", key="k", within=1.0)
        agent = Agent(base_url="", key="k")
        for made in (admin, agent):
            for name, method in inspect.getmembers(made, inspect.ismethod):
                arguments = inspect.signature(method).parameters
                if not name.startswith("_") and not {"target", "template"} & {
                    *arguments
                }:
                    method(
                        **{one: filled(argument) for one, argument in arguments.items()}
                    )
        # What depends on an argument.
        admin.list_pending()
        admin.read_email(email_id="PART", mailbox_id="")
        agent.send_held(
            mailbox="",
            mailbox_id="PART",
            message={"attachments": [1]},
            idempotency_key="k",
        )
    return found


def relied_on():
    """Everything that the desk relies on: by operation its parameters and fields, and
    words of enums as name=word.
    """
    found = asked()
    for operation, names in [*PASSED_ON.items(), *READ.items()]:
        found[operation] |= {*names.split()}
    for operation, enums in WORDS.items():
        found[operation] |= {
            f"{name}={word}" for name, words in enums.items() for word in words.split()
        }
    return found


def in_document(operation):
    names = {
        name
        for part in ("parameters", "body", "answer")
        for name in operation.get(part, "").split()
    }
    return names | {
        f"{name}={word}"
        for name, words in operation.get("enums", {}).items()
        for word in words.split()
    }


def moved(operations):
    """Name what the desk relies on that is neither in this list nor known from
    elsewhere.
    """
    gone = []
    for operation, names in relied_on().items():
        elsewhere = ELSEWHERE.get(operation, {})
        if operation not in operations and not isinstance(elsewhere, str):
            gone.append(operation)
        elif operation in operations:
            gone += [
                f"{operation}: {name}"
                for name in sorted(
                    names - in_document(operations[operation]) - {*elsewhere}
                )
            ]
    return gone


def test_what_the_desk_relies_on_is_in_the_list_or_has_another_source():
    gone = moved(stored()["operations"])
    assert gone == [], "\n".join(gone)


def test_what_has_another_source_is_relied_on_and_not_in_the_list():
    operations = stored()["operations"]
    relied = relied_on()
    idle = [operation for operation in ELSEWHERE if operation not in relied]
    for operation, names in ELSEWHERE.items():
        known = in_document(operations.get(operation, {}))
        wrong = (
            {*names} & known | {*names} - relied.get(operation, {*names})
            if isinstance(names, dict)
            else known
        )
        idle += [f"{operation}: {name}" for name in sorted(wrong)]
    assert idle == []
    assert {*operations} - {*relied} == set()


def test_a_list_in_which_something_moved_names_it():
    operations = stored()["operations"]
    operations["POST /v1/oversight/decide"]["body"] = "email_id verdict"
    operations["POST /v1/oversight/decide"]["enums"]["status"] = "approved rejected"
    operations["GET /v1/webhooks"]["answer"] = "hooks hooks.id"
    del operations["DELETE /v1/domains/{}"]
    found = moved(operations)
    assert "POST /v1/oversight/decide: action" in found
    assert "POST /v1/oversight/decide: status=approved_and_sent" in found
    assert "GET /v1/webhooks: subscriptions.url" in found
    assert "DELETE /v1/domains/{}" in found


def test_every_section_of_the_page_names_its_sources_by_known_letters():
    page = PAGE.read_text()
    letters = "".join(re.findall(r"^\| \*\*(\w)\*\* \|", page, re.M))
    mark = re.compile(rf"\[[{letters}](?: [{letters}])*(?:[;:,][^]]*)?\](?!\()")
    sections = re.split("^#+ ", page, flags=re.M)[2:]
    bare = [one.partition("\n") for one in sections if not mark.search(one)]
    # A heading with nothing but sections below it needs none.
    assert [heading for heading, _, text in bare if text.strip()] == [
        "Where the facts come from"
    ]
    used = [
        letter
        for names in ELSEWHERE.values()
        for letter in ([names] if isinstance(names, str) else names.values())
    ]
    assert {*"".join(used).replace(" ", "")} <= {*letters}


def test_the_list_of_a_document_has_its_parameters_fields_and_enums():
    row = {
        "type": "object",
        "properties": {"id": {"type": "string"}, "mode": {"enum": ["on", "off"]}},
    }
    answer = {
        "properties": {
            "rows": {"type": "array", "items": {"$ref": "#/components/schemas/Row"}}
        }
    }
    operation = {
        "parameters": [
            {"in": "path", "name": "id"},
            {"in": "query", "name": "limit", "schema": {}},
        ],
        "requestBody": {
            "content": {
                "application/json": {
                    "schema": {"properties": {"scopes": {"items": {"enum": ["a"]}}}}
                }
            }
        },
        "responses": {
            "200": {"content": {"application/json": {"schema": answer}}},
            "404": {},
        },
    }
    document = {
        "paths": {"/v1/rows/{id}": {"post": operation}},
        "components": {"schemas": {"Row": row}},
    }
    assert listed(document) == {
        "POST /v1/rows/{}": {
            "parameters": "limit",
            "body": "scopes",
            "answer": "rows rows.id rows.mode",
            "enums": {"scopes": "a", "rows.mode": "off on"},
        }
    }
