"""The sheet of the message page: the message's content in one of several views, which
are its tabs (rendered, text, HTML against text, source, headers, changes).

Only the open tab is computed. Rendered messages are cached in this process.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from threading import Lock
from typing import Any

from django import forms
from django.urls import reverse

from approvals.message_page.content.differences import (
    Changes,
    changes_since_version_before,
)
from approvals.message_page.content.source import (
    Comparison,
    Stretch,
    compare_parts,
    headers_of,
    source_of,
    stretch_of,
)
from approvals.queue.filters import with_query
from common.additions import text_part
from common.fingerprint import Content
from common.pages import DeskRequest, LenientForm
from common.tables import table_pairs
from mirror.models import Message, Revision
from mirror.store import rendered_content
from mirror.sync.reads import original_of
from parsing.client import ParserKilled
from policy.rules.demand import Demand
from rendering import RenderedMessage, named
from rendering.invisibles import without_surrogates
from rendering.parsed import ask_parser
from risk.addresses import everybody

# Limits of the cache of this process: messages, and characters of all together.
MAX_MESSAGES = 64
MAX_CHARACTERS = 8_000_000

_lock = Lock()
_cache: "OrderedDict[str, RenderedMessage]" = OrderedDict()


def rendered_message_of(
    revision: Revision, content: Content | None = None
) -> RenderedMessage:
    """Return the rendered message of a version. It is cached by the fingerprint, which
    covers everything that is shown.
    """
    return _cached(revision.fingerprint, revision, content)


def _cached(key: str, revision: Revision, content: Content | None) -> RenderedMessage:
    with _lock:
        if key in _cache:
            _cache.move_to_end(key)
            return _cache[key]
    rendered = rendered_content(revision, content)
    with _lock:
        _cache[key] = rendered
        sizes = [
            len(one.document) + len(one.text) + len(one.plain) + len(one.read)
            for one in _cache.values()
        ]
        # The least recently used messages are dropped first.
        while len(_cache) > MAX_MESSAGES or (
            len(_cache) > 1 and sum(sizes) > MAX_CHARACTERS
        ):
            _cache.popitem(last=False)
            sizes.pop(0)
    return rendered


# Characters of the preview that a mail program shows behind the subject.
PREVIEW = 90
# Lines shown of the plain text, and characters of each. The "Text" tab has all of it.
LINES = 12
LINE = 300


@lru_cache(maxsize=16)
def stated_facts(text: str, domains: tuple[str, ...], thread: tuple[str, ...]) -> Any:
    """Return what a message states (`content.jobs.Facts`), as the parser found it;
    nothing if it was killed over it. Raises ParserUnavailable.
    """
    try:
        return ask_parser("state_facts", [text, domains, thread])
    except ParserKilled:
        return {}


def inbox_of(content: Content, rendered: RenderedMessage) -> dict[str, Any]:
    """Return the template context for how a mail program lists and shows the message.

    `preview` is what lists show behind the subject: the first words of the message,
    even if it hides them from its reader (`is_hidden`). `plain` is what programs
    without HTML show.
    """
    hidden = rendered.preheader
    words = " ".join(f"{hidden} {rendered.plain}".split())
    preview = words[:PREVIEW]
    # What a mail program without HTML shows.
    text = (
        text_part(content.markdown, content.additions)
        if content.markdown
        else rendered.text
    )
    return {
        "preview": preview + ("…" if len(words) > PREVIEW else ""),
        "plain": _head(named(without_surrogates(text[:20_000]))),
        "has_own_colours": '<body class="white">' in rendered.document,
        "is_hidden": bool(hidden),
    }


def _head(text: str) -> str:
    """Return the first lines of a text, and the beginning of long lines. An ellipsis
    marks each cut.
    """
    rows = text[: LINES * LINE * 4].strip().splitlines()
    head = "\n".join(
        line[:LINE] + ("…" if len(line) > LINE else "") for line in rows[:LINES]
    )
    return head + ("\n…" if len(rows) > LINES or len(text) > LINES * LINE * 4 else "")


# The views of a message, by their names in the URL.
WAYS = table_pairs("""
rendered | Rendered
text | Text
parts | HTML against text
source | Source
original | Original look
headers | Headers
changes | Changes
""")


@dataclass(frozen=True)
class Way:
    """The chosen view of the message (a key of `WAYS`), and its page number."""

    name: str
    page: int = 1


class ViewForm(LenientForm):
    """The parameters of the URL that choose the view of a message and its page."""

    view = forms.ChoiceField(choices=list(WAYS.items()), required=False)
    page = forms.IntegerField(min_value=1, max_value=100_000, required=False)


# Characters of the text that is included next to the frame, for print and for browsers
# without frames.
TWIN = 20_000


@dataclass(frozen=True)
class Tab:
    """The tab of one view: its URLs with and without htmx, and a short mark, such as
    the number of differences, with its meaning for screen readers.
    """

    name: str
    label: str
    url: str
    fragment: str
    is_open: bool
    mark: str = ""
    mark_says: str = ""


def way_asked(request: DeskRequest) -> Way:
    """Return the view that the URL asks for, by default the rendered message."""
    form = ViewForm(request.GET)
    return Way(form.value("view") or "rendered", form.value("page") or 1)


def sheet_context(
    message: Message,
    content: Content | None,
    rendered: RenderedMessage | None,
    *,
    way: Way,
    sent_back: Changes | None,
    query: str,
) -> dict[str, Any]:
    """Return the template context of the sheet. `query` is the queue's query string
    with its question mark; `sent_back` is what changed since changes were requested.
    """
    if content is None or rendered is None:
        return {"way": replace(way, name="rendered"), "ways": []}
    comparison = None
    if (
        message.revision is not None
        and content.html is not None
        and content.markdown is not None
    ):
        key = f"{message.revision.fingerprint} text"
        text = _cached(key, message.revision, replace(content, html=None))
        comparison = compare_parts(content, rendered, text)
    elif way.name == "parts":
        # A message with one part is compared only on request.
        comparison = compare_parts(content, rendered)
    context: dict[str, Any] = {"way": way, "comparison": comparison}
    if way.name == "text":
        context["stretch"] = stretch_of(rendered.text, page=way.page)
    elif way.name == "rendered":
        context["twin"] = twin_of(rendered)
    elif way.name == "source":
        original = original_of(message)
        context["original"] = original
        context["sources"] = source_of(
            content, page=way.page, original=original.html if original else None
        )
    elif way.name == "headers":
        context["headers"] = headers_of(message, content)
    elif way.name == "changes":
        context |= {
            "sent_back": sent_back,
            "since_before": changes_since_version_before(message),
        }
    tabs = _tabs(message, way, query, comparison, sent_back)
    # The links to the previous and next page, for content longer than one page.
    turns: dict[str, Any] = {}
    paged = [context.get("stretch"), *context.get("sources", ())]
    longest = max(filter(None, paged), key=lambda one: one.pages, default=None)
    if longest is not None and longest.pages > 1:
        turns = {"page": longest.page, "pages": longest.pages}
        current = next(tab for tab in tabs if tab.is_open)
        for name, page in (("before", longest.page - 1), ("after", longest.page + 1)):
            if 1 <= page <= longest.pages:
                turns[name] = [
                    f"{link}&page={page}" for link in (current.url, current.fragment)
                ]
    return {**context, "ways": tabs, "turns": turns}


def twin_of(rendered: RenderedMessage) -> Stretch:
    """Return the text of the frame as a person reads it: without Markdown syntax, and
    with hidden text marked.
    """
    return stretch_of(rendered.read or rendered.text, size=TWIN)


def _tabs(
    message: Message,
    way: Way,
    query: str,
    comparison: Comparison | None,
    sent_back: Changes | None,
) -> list[Tab]:
    page = with_query(reverse("message", args=[message.public_id]) + query, "view=")
    fragment = with_query(
        reverse("message-view", args=[message.public_id]) + query, "view="
    )
    marks = {}
    found = message.revision.findings if message.revision else []
    # A layout that text writes otherwise is no difference.
    is_found = any(one["rule"] == "parts_differ" for one in found)
    if comparison and comparison.differences and is_found:
        number = f"{comparison.differences:,}"
        marks["parts"] = (number, f"{number} difference{'' if number == '1' else 's'}")
    if sent_back and sent_back.changes:
        number = str(len(sent_back.changes))
        marks["changes"] = (number, "changed since changes were requested")
    return [
        Tab(
            name,
            label,
            page + name,
            fragment + name,
            name == way.name,
            *marks.get(name, ()),
        )
        for name, label in WAYS.items()
    ]


def approve_label(content: Content | None, message: Message, demand: Demand) -> str:
    """Return the label of the approve button: what happens to how many people, such as
    "Approve and send to 3 people, 1 outside".

    If others have to approve after this person, it is the number of approvals: "Approve
    (1 of 2)".
    """
    if demand.takes_several and not demand.is_last:
        return f"Approve ({demand.after()})"
    if message.is_inbound:
        return "Release to the agent"
    if content is None:
        return "Approve"
    people = len(everybody(content))
    at_least = "" if {"cc", "bcc"} <= set(content.coverage) else "at least "
    verb = "Approve and schedule" if content.send_at else "Approve and send"
    outside = ""
    # `outside` counts recipients outside the organization. It is not computed yet while
    # the message has no stored addresses.
    if message.addresses and message.outside >= people:
        outside = " outside"
    elif message.addresses:
        outside = f", {message.outside} outside" if message.outside else " inside"
    return (
        f"{verb} to {at_least}{people} {'person' if people == 1 else 'people'}{outside}"
    )


def has_undo_window(message: Message) -> bool:
    """Whether an approval of this message can be undone for a while."""
    return message.mailbox is None or message.mailbox.undo_window > timedelta(0)
