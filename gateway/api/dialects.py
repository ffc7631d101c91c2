"""What differs between the dialects of MultiMail's clients: the first status of a message,
and whether recipients are a list or one text. The path of a request and its form tell
its dialect.
"""

from collections.abc import Set

from django.http import HttpRequest

from common.tables import table_rows

# How the path without /v1 begins; the form of the request; the first status of a message
# that is held, and that of any other. The first row that fits counts.
_FIRST_STATUS = table_rows("""
/mailboxes/ | over MCP    | pending_approval | pending_scan
/mailboxes/ | first tools | pending_approval | pending_scan
/mailboxes/ |             | pending_scan     | pending_scan
/send_email |             | queued           | queued
/send       |             | pending          | queued
/           |             | queued           | queued
""")
# The fields that MultiMail's MCP server knew at first, as its page on Glama shows them.
_FIRST_FIELDS = {"to", "cc", "subject", "markdown"}


def is_flat(request: HttpRequest) -> bool:
    """Whether the request is in the flat dialect or Zapier's, where recipients are one
    text.
    """
    return not request.path_info.startswith(("/v1/mailboxes/", "/v1/oversight/"))


def first_status(request: HttpRequest, fields: Set[str], *, is_held: bool) -> str:
    """Return the status by which the client knows that its message was accepted;
    `fields` are those that it sent.
    """
    path = request.path_info.removeprefix("/v1")
    form = ""
    if "Mcp-Protocol-Version" in request.headers:
        form = "over MCP"
    # MultiMail's MCP server runs in Node, which sends this header. Nothing else tells a
    # later version that sends no later field.
    elif "Sec-Fetch-Mode" in request.headers and fields <= _FIRST_FIELDS:
        form = "first tools"
    held, other = next(
        words
        for known_path, known_form, *words in _FIRST_STATUS
        if path.startswith(known_path) and known_form in ("", form)
    )
    return held if is_held else other
