"""What the addresses of the queue's pages ask for, and the name of a saved view."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django import forms

from approvals.queue.filters import GROUPS, NEWEST_FIRST, ORDERS, RISKS, TABS, TOKENS, Filters, read_search
from approvals.queue.positions import read_place
from common.fingerprint import FINGERPRINT
from common.forms import SentenceForm
from common.search_field import MAX_TYPED, as_asked
from common.words import words_of
from mirror.models import Mailbox
from risk import RULES

_RISKS = {**{name: name for name in RISKS}, "nothing": "none"}
_HAS = {"attachment": "attachment", "attachments": "attachment", "file": "attachment", "files": "attachment"}
_RULES = {spelling: rule.name for rule in RULES.values() for spelling in (rule.name.replace("_", " "), rule.words)}


class _Asked(forms.CharField):
    """What is asked for in an address. Nonsense asks for nothing: an address is never refused."""

    def __init__(self, *, most: int = 200, **options: Any) -> None:
        super().__init__(required=False, **options)
        self.most = most

    def to_python(self, value: Any) -> str:
        return as_asked(value, self.most)


class QueueForm(forms.Form):
    """The queue's address: what is asked for, in which order, and where the page begins.

    What is typed as a token, such as `to:dana`, counts like the field of that name, and before it.
    """

    tab, order, group, after, has = _Asked(), _Asked(), _Asked(), _Asked(), _Asked()
    # One more than is searched, to see that there was more.
    q = _Asked(most=MAX_TYPED + 1)
    to, by, rule, risk, mailbox = _Asked(), _Asked(), _Asked(), _Asked(), _Asked()
    started, thread, run, alike = _Asked(), _Asked(), _Asked(), _Asked()

    def __init__(self, data: Any, *, mailboxes: Sequence[Mailbox] = ()) -> None:
        super().__init__(data)
        self.fields["from"] = _Asked()
        self.mailboxes = mailboxes
        self.remarks: list[str] = []

    def filters(self) -> Filters:
        """Return what is asked for, with a sentence for each thing that could not be meant."""
        self.is_valid()
        asked = self.cleaned_data
        typed = read_search(asked["q"])
        self.remarks = list(typed.remarks)
        values = {name: typed.values.get(name) or asked[name] for name in TOKENS}
        tab, order = _known(asked["tab"], TABS, "waiting"), _known(asked["order"], ORDERS, "oldest")
        found = Filters(
            tab=tab,
            text=" ".join(typed.words),
            to=values["to"],
            from_=values["from"],
            by=values["by"],
            rule=self._one_of("rule", values["rule"], _RULES),
            risk=self._one_of("risk", values["risk"], _RISKS),
            has=self._one_of("has", values["has"], _HAS),
            mailbox=self._mailbox(values["mailbox"]),
            order=order,
            group=_known(asked["group"], GROUPS, ""),
            after=read_place(asked["after"], order="newest" if tab in NEWEST_FIRST else order),
            **{name: asked[name] for name in ("started", "thread", "run", "alike")},
        )
        if found.text and not words_of(found.text):
            self.remarks.append(f"“{found.text[:40]}” has no letter or number in it, so nothing was searched.")
        return replace(found, remarks=tuple(self.remarks))

    def _one_of(self, token: str, value: str, known: Mapping[str, str]) -> str:
        if not value:
            return ""
        if (meant := known.get(value.lower().replace("_", " "))) is None:
            can_be = ", ".join(dict.fromkeys(known.values()))
            self.remarks.append(f"There is no “{token}:{value[:40]}”, so it was left out. It can be: {can_be}.")
        return meant or ""

    def _mailbox(self, value: str) -> int | None:
        """Find a mailbox by its key, its address, or what stands before the @."""
        asked = value.lower()
        for told in (lambda one: str(one.pk), lambda one: one.address.lower(), lambda one: one.short_name.lower()):
            if found := next((one.pk for one in self.mailboxes if told(one) == asked), None):
                return int(found)
        if value:
            self.remarks.append(f"No mailbox of yours is called “{value[:40]}”, so all of them are shown.")
        return None


def _known(value: str, known: Mapping[str, str], otherwise: str) -> str:
    return value if value in known else otherwise


class SavedViewForm(SentenceForm):
    """A name for what the queue shows now."""

    name = forms.CharField(
        max_length=60,
        error_messages={"required": "Give the view a name.", "max_length": "Keep the name under 60 characters."},
    )
    query = forms.CharField(required=False, max_length=4000, strip=False)
    shared = forms.BooleanField(required=False)


class MessageForm(forms.Form):
    """The message page's address: the version that the reader has read, to see what changed since, and the message that
    they have just decided. Nonsense is none.
    """

    since = forms.RegexField(FINGERPRINT, required=False)
    decided = forms.UUIDField(required=False)

    def just_decided(self) -> UUID | None:
        """Return the id of the message that was decided before this one was opened."""
        self.is_valid()
        return self.cleaned_data.get("decided")

    def read_before(self) -> str:
        """Return the fingerprint of the version that was read, empty where none is given."""
        self.is_valid()
        return str(self.cleaned_data.get("since") or "")


class PulseForm(forms.Form):
    """The message that is open on the page that asks for the pulse."""

    open = forms.UUIDField(required=False)

    def open_message(self) -> UUID | None:
        """Return its id, None where none is open."""
        self.is_valid()
        return self.cleaned_data.get("open")
