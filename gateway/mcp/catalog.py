"""The tools as data: their names, arguments and annotations, and the request to the API
that each is.

The table has one row for each request. What an argument may be, and which scope a tool
needs, are those of the API, by its OpenAPI document.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.urls import resolve
from mcp_types import Tool, ToolAnnotations

from common.tables import table_rows
from common.unique_keys import Json
from gateway.api.site import api

# The tool; what it does: (r) read, (w) write or (d) destroy, (o) beyond this account; the
# request; its arguments, of which some are needed (*); the description.
_TABLE = """
list_mailboxes | r | GET /v1/mailboxes | limit cursor | List the mailboxes of this key, with their ids, addresses and
  oversight modes.
send_email | wo | POST /v1/mailboxes/{mailbox_id}/send | to* subject* markdown* cc bcc attachments
  idempotency_key send_at gate_timing ucan
  | Send an email; send_at sends it later. A person may have to approve it first: then oversight_status is
  pending_approval and review_url is the page where they look at it. That is success, not an error. Never send the
  message again because of it: read_email tells the decision.
check_inbox | r | GET /v1/mailboxes/{mailbox_id}/emails | status sender subject_contains date_after
  date_before direction has_attachments since_id limit cursor
  | List the messages of a mailbox, newest first, without their texts; since_id lists only newer ones.
wait_for_email | r | GET /v1/mailboxes/{mailbox_id}/emails | timeout_seconds filter
  | Wait for new unread mail, for 30 seconds or timeout_seconds (5 to 120). filter may have sender and
  subject_contains.
read_email | w | GET /v1/mailboxes/{mailbox_id}/emails/{email_id} | offset
  | Read one message with its text, and for a sent one its status and decision. Received mail is marked as read. A
  long text comes in pieces: give the next_offset of an answer as offset.
reply_email | wo | POST /v1/mailboxes/{mailbox_id}/reply/{email_id} | markdown* to cc bcc attachments
  idempotency_key ucan
  | Answer a message in its thread. As with send_email, a person may have to approve it first. Give to only if
  the message has no address.
get_thread | r | GET /v1/mailboxes/{mailbox_id}/threads/{thread_id} | limit cursor
  | List the newest messages of a thread, oldest first, without their texts; cursor leads to those before.
download_attachment | r | GET /v1/mailboxes/{mailbox_id}/emails/{email_id}/attachments/{filename}/url |
  | Get an attached file: a small one in base64, and a link that works for an hour.
cancel_message | w | POST /v1/mailboxes/{mailbox_id}/emails/{email_id}/cancel |
  | Take back a message that has not been sent.
edit_scheduled_email | w | PATCH /v1/mailboxes/{mailbox_id}/emails/{email_id}/schedule | send_at to cc bcc
  subject markdown | Change a scheduled message; of an approved one only its time can be changed.
get_tags | r | GET /v1/mailboxes/{mailbox_id}/emails/{email_id}/tags | | List the tags of a message.
set_tags | w | PUT /v1/mailboxes/{mailbox_id}/emails/{email_id}/tags | tags* | Add tags to a message.
delete_tag | w | DELETE /v1/mailboxes/{mailbox_id}/emails/{email_id}/tags/{key} | | Remove a tag of a message.
list_pending | r | GET /v1/oversight/pending | limit cursor email_id offset
  | List the messages that wait for a decision, oldest first, with the beginnings of their texts; with email_id read
  one, with its text in pieces as in read_email.
decide_email | do | POST /v1/oversight/decide | email_id* action* reason
  | Approve or reject a message that waits. Needs a key that does not send.
manage_upgrade | w | POST /v1/mailboxes/{mailbox_id}/{action} | target_mode code
  | Ask an operator for a looser oversight mode (action request, target_mode), or apply the code that they gave
  (action apply, code).
list_allowlist | r | GET /v1/mailboxes/{mailbox_id}/allowlist | limit cursor
  | List to whom a mailbox sends without review.
add_allowlist_entry | w | POST /v1/mailboxes/{mailbox_id}/allowlist | pattern* note approval_code
  | Ask an operator to let mail to an address or *@domain leave without review.
remove_allowlist_entry | d | DELETE /v1/mailboxes/{mailbox_id}/allowlist/{entry_id} | approval_code
  | Remove an entry of that list.
configure_mailbox | w | PATCH /v1/mailboxes/{mailbox_id}/configure | oversight_mode display_name auto_cc
  auto_bcc signature_block default_gate_timing scheduling_enabled
  | Set up a mailbox. Its oversight mode can only be made stricter.
update_mailbox | w | PATCH /v1/mailboxes/{mailbox_id} | display_name oversight_mode auto_cc auto_bcc
  forward_inbound signature_block | Change the settings of a mailbox.
create_mailbox | w | POST /v1/mailboxes | address_local_part* display_name approval_code
  | Make a mailbox. An operator may have to confirm it with a code.
delete_mailbox | d | DELETE /v1/mailboxes/{mailbox_id} | mailbox_id* approval_code
  | Delete a mailbox for ever; its address cannot be used again.
get_account | r | GET /v1/account | | Read the account, its limits, and what this key may do.
update_account | w | PATCH /v1/account | name oversight_email physical_address approval_code
  | Change the account.
delete_account | d | DELETE /v1/account | approval_code | Delete the account for ever, with all its keys.
get_usage | r | GET /v1/usage | period | Count mail and calls of this month; period daily: day by day.
get_audit_log | r | GET /v1/audit-log | limit cursor | List what was done with which key.
list_api_keys | r | GET /v1/api-keys | limit cursor | List the API keys of the account, without their texts.
create_api_key | w | POST /v1/api-keys | name* scopes* approval_code | Make an API key.
revoke_api_key | d | DELETE /v1/api-keys/{key_id} | approval_code | Revoke an API key for ever.
add_contact | w | POST /v1/contacts | name email* tags | Add a contact.
search_contacts | r | GET /v1/contacts | query limit cursor | Search the contacts by name, address or tag.
delete_contact | d | DELETE /v1/contacts/{contact_id} | | Delete a contact.
manage_spam_status | w | POST /v1/emails/{email_id}/{action} |
  | Put a received message away as spam (action report), or bring it back (action clear).
list_spam | r | GET /v1/emails | limit cursor | List what was put away as spam.
list_suppression | r | GET /v1/suppression | limit cursor | List the addresses to which nothing is sent any more.
remove_suppression | w | DELETE /v1/suppression/{email_address} | | Let mail to such an address be sent again.
create_webhook | wo | POST /v1/webhooks | url* events* mailbox_id approval_code
  | Have events posted to an address.
list_webhooks | r | GET /v1/webhooks | limit cursor | List the webhooks of the account.
delete_webhook | d | DELETE /v1/webhooks/{webhook_id} | | Delete a webhook.
report_issue | w | POST /v1/feedback | category description*
  | Tell the operator of this gateway about a problem with it.
get_billing_portal | r | POST /v1/billing/portal | return_url | Not offered: there is no billing.
upgrade_plan | w | POST /v1/billing/checkout | plan interval | Not offered: there is no billing.
cancel_subscription | d | POST /v1/billing/cancel | approval_code | Not offered: there is no billing.
request_challenge | r | POST /v1/account/challenge | oversight_email | Not offered: the operator makes accounts.
create_account | w | POST /v1/account | operator_name oversight_email | Not offered: the operator makes accounts.
activate_account | w | POST /v1/confirm | code | Not offered: the operator makes accounts.
resend_confirmation | w | POST /v1/account/resend-confirmation | oversight_email
  | Not offered: the operator makes accounts.
setup_multimail | r | GET /v1/account | | Say whether this server is set up: it is, as the call has a key.
"""
# Rows in the answer of a list: of those that are asked for, and if nothing is said.
MAX_ROWS = 100
ROWS = 20
_TEXT: Json = {"type": "string"}
# Arguments that the API does not know, or takes otherwise.
_OWN: dict[str, Json] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": MAX_ROWS, "default": ROWS},
    "offset": {"type": "integer", "minimum": 0},
    "timeout_seconds": {"type": "integer"},
    "filter": {"type": "object"},
}
# The last part of the path, by the argument `action`.
_ACTIONS = {
    "manage_upgrade": {"request": "request-upgrade", "apply": "upgrade"},
    "manage_spam_status": {"report": "report-spam", "clear": "not-spam"},
}


@dataclass(frozen=True)
class Entry:
    """A tool as clients see it, and its request to the API: the arguments in its path,
    and the scopes of which the key needs one.
    """

    tool: Tool
    method: str
    path: str
    in_path: list[str]
    actions: dict[str, str]
    scopes: list[str]

    def is_for(self, scopes: Sequence[str]) -> bool:
        """Whether a key with these scopes may use the tool."""
        return not self.scopes or not set(scopes).isdisjoint(self.scopes)


def catalog() -> dict[str, Entry]:
    """Return the tools by name, in the order of the table."""
    document = api.get_openapi_schema()
    return {row[0]: _entry(document, *row) for row in table_rows(_TABLE)}


def _entry(
    document: Json, name: str, hint: str, request: str, words: str, description: str
) -> Entry:
    method, path = request.split()
    actions = _ACTIONS.get(name, {})
    documented = path.replace("{action}", next(iter(actions.values()), ""))
    in_path = ["action"] if actions else []
    # The names of its arguments stand in for their values.
    found = resolve(documented.replace("{", "").replace("}", ""))
    in_path += [one for one in found.kwargs.values() if f"{{{one}}}" in path]
    route = found.route.replace("<path:", "{").replace("<", "{").replace(">", "}")
    operation = document["paths"].get(f"/{route}", {}).get(method.lower(), {})
    known = {one["name"]: one["schema"] for one in operation.get("parameters", ())}
    body = operation.get("requestBody", {"content": {}})["content"]
    for content in body.values():
        known |= _whole(content["schema"], document).get("properties", {})
    properties: Json = dict.fromkeys(in_path, _TEXT)
    needed = [argument for argument in in_path if argument != "mailbox_id"]
    for word in words.split():
        argument = word.rstrip("*")
        schema = _OWN.get(argument) or known.get(argument) or _TEXT
        properties[argument] = _whole(schema, document)
        if word != argument:
            needed.append(argument)
    if actions:
        properties["action"] = _TEXT | {"enum": list(actions)}
    tool = Tool(
        name=name,
        description=description,
        input_schema={
            "type": "object",
            "properties": properties,
            "required": needed,
            "additionalProperties": False,
        },
        annotations=ToolAnnotations(
            read_only_hint="r" in hint,
            destructive_hint="d" in hint,
            open_world_hint="o" in hint,
        ),
    )
    return Entry(tool, method, path, in_path, actions, operation.get("x-scopes", []))


def _whole(schema: Any, document: Json) -> Any:
    """Return the schema with what it refers to in its place."""
    if isinstance(schema, list):
        return [_whole(one, document) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return _whole(document["components"]["schemas"][name], document)
    return {name: _whole(part, document) for name, part in schema.items()}
