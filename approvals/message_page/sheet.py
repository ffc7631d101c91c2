"""The sheet of a message: its tabs, and what the open one shows. Only that one is
computed.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django import forms
from django.urls import reverse

from approvals.message_page.content.differences import (
    Changes,
    changes_since_version_before,
)
from approvals.message_page.content.rendered import rendered_text_of
from approvals.message_page.content.source import (
    Comparison,
    Stretch,
    compare_parts,
    headers_of,
    source_of,
    stretch_of,
)
from approvals.queue.filters import with_query
from common.fingerprint import Content
from common.forms import LenientForm
from common.pages import DeskRequest
from mirror.models import Message
from mirror.sync.reads import original_of
from policy.rules.demand import Demand
from rendering import RenderedMessage
from rendering.result import Words
from risk.addresses import everybody

WAYS = {
    "rendered": "Rendered",
    "text": "Text",
    "parts": "HTML against text",
    "source": "Source",
    "headers": "Headers",
    "changes": "Changes",
}


@dataclass(frozen=True)
class Way:
    """The chosen view of the message, and its page number."""

    name: str
    page: int = 1


class ViewForm(LenientForm):
    """What the address asks of the view of a message: which one, from which page on,
    and which words get a mark.

    "word-17-2" are two words of the plain text, from the one numbered 17 on.
    """

    view = forms.ChoiceField(choices=list(WAYS.items()), required=False)
    page = forms.IntegerField(min_value=1, max_value=100_000, required=False)
    mark = forms.RegexField(r"^word-[0-9]{1,6}-[0-9]{1,2}\Z", required=False)

    def marked(self) -> Words | None:
        """Return the number of the first marked word and how many there are; None where
        none are asked for.
        """
        _, _, asked = (self.value("mark") or "").partition("-")
        first, _, number = asked.partition("-")
        return (int(first), int(number)) if asked else None


# How much of the text is included next to the frame, for print and for browsers without
# frames.
TWIN = 20_000


@dataclass(frozen=True)
class Tab:
    """One view of the message: its URL, and a short mark of what it shows."""

    name: str
    label: str
    url: str
    fragment: str
    is_open: bool
    mark: str = ""
    mark_says: str = ""


def way_asked(request: DeskRequest) -> Way:
    """Return the view that the URL asks for; without one, text for people who prefer
    it, else the rendered message.
    """
    form = ViewForm(request.GET)
    usual = "text" if getattr(request.user, "text_first", False) else "rendered"
    return Way(form.value("view") or usual, form.value("page") or 1)


def sheet_context(
    message: Message,
    content: Content | None,
    rendered: RenderedMessage | None,
    *,
    way: Way,
    sent_back: Changes | None,
    query: str,
) -> dict[str, Any]:
    """Return what the sheet shows; `query` is the queue's query string, question mark
    included.
    """
    if content is None or rendered is None:
        return {"way": replace(way, name="rendered"), "ways": []}
    comparison = None
    if (
        message.revision is not None
        and content.html is not None
        and content.markdown is not None
    ):
        comparison = compare_parts(
            content, rendered, rendered_text_of(message.revision, content)
        )
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
    current = next(tab for tab in tabs if tab.is_open)
    return {**context, "ways": tabs, "turns": _turns(current, context)}


def twin_of(rendered: RenderedMessage) -> Stretch:
    """Return the text of the frame as it is read: without Markdown syntax, and with
    hidden text marked.
    """
    return stretch_of(rendered.read or rendered.text, size=TWIN)


def _tabs(
    message: Message,
    way: Way,
    query: str,
    comparison: Comparison | None,
    sent_back: Changes | None,
) -> list[Tab]:
    page = reverse("message", args=[message.public_id]) + query
    fragment = reverse("message-view", args=[message.public_id]) + query
    marks = {}
    if comparison and comparison.differences:
        number = f"{comparison.differences:,}"
        marks["parts"] = (number, f"{number} difference{'' if number == '1' else 's'}")
    if sent_back and sent_back.changes:
        number = str(len(sent_back.changes))
        marks["changes"] = (number, "changed since changes were requested")
    return [
        Tab(
            name,
            label,
            with_query(page, f"view={name}"),
            with_query(fragment, f"view={name}"),
            name == way.name,
            *marks.get(name, ()),
        )
        for name, label in WAYS.items()
    ]


def _turns(tab: Tab, context: dict[str, Any]) -> dict[str, Any] | None:
    """Return the links to the previous and next page, for content longer than one page."""
    paged = [context.get("stretch"), *context.get("sources", ())]
    longest = max(filter(None, paged), key=lambda one: one.pages, default=None)
    if longest is None or longest.pages == 1:
        return None
    neighbours = {"before": longest.page - 1, "after": longest.page + 1}
    links = {
        name: (f"{tab.url}&page={page}", f"{tab.fragment}&page={page}")
        for name, page in neighbours.items()
        if 1 <= page <= longest.pages
    }
    return {"page": longest.page, "pages": longest.pages, **links}


def approve_label(
    content: Content | None, message: Message, demand: Demand | None = None
) -> str:
    """Return the words on the button: what happens when it is pressed, and to how many.

    Where others have to approve too, that is only the number of approvals: "Approve (1
    of 2)".
    """
    if demand is not None and demand.takes_several and not demand.is_last:
        return f"Approve ({demand.after()})"
    if message.is_inbound:
        return "Release to the agent"
    if content is None:
        return "Approve"
    people = len(everybody(content))
    least = "" if {"cc", "bcc"} <= set(content.coverage) else "at least "
    verb = "Approve and schedule" if content.send_at else "Approve and send"
    outside = ""
    # How many recipients are external; without addresses that was never computed.
    if message.addresses and message.outside >= people:
        outside = " outside"
    elif message.addresses:
        outside = f", {message.outside} outside" if message.outside else " inside"
    return f"{verb} to {least}{people} {'person' if people == 1 else 'people'}{outside}"


def has_undo_window(message: Message) -> bool:
    """Return whether an approval of this message can be undone for a while."""
    return message.mailbox is None or message.mailbox.undo_window > timedelta(0)
