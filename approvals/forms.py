"""All parsing of what people send: the verdict, and the queue's address line."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django import forms

from approvals.decisions.usual_reasons import PRESETS, with_preset
from approvals.queue.filters import GROUPS, NEWEST_FIRST, ORDERS, RISKS, TABS, TOKENS, Filters, read_search
from approvals.queue.positions import read_place
from common.fingerprint import FINGERPRINT
from common.search_field import MAX_TYPED, as_asked
from common.words import words_of
from mirror.models import Mailbox
from mirror.states import Outcome
from risk import RULES

# MultiMail takes 2000 characters, and the reviewer's name and our reference are put behind the reason.
MAX_REASON = 1850


class WordsField(forms.CharField):
    """Text of several lines, counted as the browser counts it: a form sends each end of line as two characters."""

    def to_python(self, value: Any) -> Any:
        return (super().to_python(value) or "").replace("\r\n", "\n")


class VerdictForm(forms.Form):
    """What a person says to a message. Rejecting and sending back need a reason, because the writer reads it."""

    outcome = forms.ChoiceField(
        choices=Outcome.choices, error_messages={"invalid_choice": "Choose approve, reject or send back."}
    )
    fingerprint = forms.RegexField(
        FINGERPRINT, error_messages={"invalid": "The page is too old to decide from. Open the message again."}
    )
    reason = WordsField(
        required=False,
        max_length=MAX_REASON,
        error_messages={"max_length": f"Keep the reason under {MAX_REASON} characters."},
    )

    preset = forms.CharField(required=False, max_length=40)
    # The newest letter of the thread that the person ticked as read. Nonsense is none.
    thread_read = forms.RegexField(r"\A[0-9]{1,18}\Z", required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        cleaned["thread_read"] = int(cleaned.get("thread_read") or 0)
        self.errors.pop("thread_read", None)
        outcome = cleaned.get("outcome")
        self._add_preset(cleaned)
        if outcome == Outcome.REJECT and not cleaned.get("reason"):
            self.add_error("reason", "Say why, so that the agent can do better: the reason is sent to it.")
        if outcome == Outcome.SEND_BACK and not cleaned.get("reason"):
            self.add_error("reason", "Say what should change: the agent gets these words.")
        return cleaned

    def _add_preset(self, cleaned: dict[str, Any]) -> None:
        """Put the words of the reason that was chosen before those that were written."""
        preset = cleaned.pop("preset", "")
        if "reason" not in cleaned or cleaned.get("outcome") not in PRESETS:
            return
        cleaned["reason"] = with_preset(cleaned["outcome"], preset, cleaned["reason"])
        if len(cleaned["reason"]) > MAX_REASON:
            self.add_error("reason", f"Keep the reason under {MAX_REASON} characters.")

    def first_error(self) -> str:
        """Return the first thing that is wrong, as a sentence."""
        return next((str(errors[0]) for errors in self.errors.values() if errors), "")


class PartForm(forms.Form):
    """A part of the letter that only the page itself can tell to have been on screen."""

    part = forms.ChoiceField(choices=[("links", "The links")])


class StopForm(forms.Form):
    """What the kill switch shall stop, and why: everybody reads the reason until it is released."""

    scope = forms.ChoiceField(
        error_messages={"required": "Choose what to stop.", "invalid_choice": "That is not yours to stop."}
    )
    reason = WordsField(
        max_length=1000,
        error_messages={
            "required": "Say why: whoever finds the mail stopped must know what to wait for.",
            "max_length": "Keep the reason under 1000 characters.",
        },
    )

    def __init__(self, *args: Any, scopes: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["scope"].choices = scopes  # type: ignore[attr-defined]

    def first_error(self) -> str:
        """Return the first thing that is wrong, as a sentence."""
        return next((str(errors[0]) for errors in self.errors.values() if errors), "")


class RuleForm(forms.Form):
    """What a risk rule shall count, or that it shall count as it was published."""

    points = forms.IntegerField(
        min_value=0,
        max_value=100,
        required=False,
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_value"), "Give it 0 to 100 points, in whole numbers."
        ),
    )
    as_published = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("as_published"):
            self.errors.pop("points", None)
        elif cleaned.get("points") is None and "points" not in self.errors:
            self.add_error("points", "Give it 0 to 100 points, in whole numbers.")
        return cleaned

    def wanted(self) -> int | None:
        """Return the points, None for the published ones."""
        return None if self.cleaned_data["as_published"] else self.cleaned_data["points"]

    def first_error(self) -> str:
        """Return the first thing that is wrong, as a sentence."""
        return next((str(errors[0]) for errors in self.errors.values() if errors), "")


class HoldAllForm(forms.Form):
    """Whether the gateway shall hold all mail."""

    hold = forms.ChoiceField(choices=[("on", "Hold all mail"), ("off", "Let mail leave again")])


class SettleForm(forms.Form):
    """A person's word for what became of a decision."""

    took_effect = forms.ChoiceField(choices=[("yes", "It was carried out"), ("no", "It was not")])


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


class OpenedForm(forms.Form):
    """The version that was on a person's screen; nonsense is read as the current one."""

    fingerprint = forms.RegexField(FINGERPRINT, required=False)

    def fingerprint_shown(self) -> str:
        """Return its fingerprint, empty where none is given."""
        self.is_valid()
        return str(self.cleaned_data.get("fingerprint") or "")


class PulseForm(forms.Form):
    """The message that is open on the page that asks for the pulse."""

    open = forms.UUIDField(required=False)

    def open_message(self) -> UUID | None:
        """Return its id, None where none is open."""
        self.is_valid()
        return self.cleaned_data.get("open")


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


_RISKS = {**{name: name for name in RISKS}, "nothing": "none"}
_HAS = {"attachment": "attachment", "attachments": "attachment", "file": "attachment", "files": "attachment"}
_RULES = {spelling: rule.name for rule in RULES.values() for spelling in (rule.name.replace("_", " "), rule.words)}


def _known(value: str, known: Mapping[str, str], otherwise: str) -> str:
    return value if value in known else otherwise


class SavedViewForm(forms.Form):
    """A name for what the queue shows now."""

    name = forms.CharField(
        max_length=60,
        error_messages={"required": "Give the view a name.", "max_length": "Keep the name under 60 characters."},
    )
    query = forms.CharField(required=False, max_length=4000, strip=False)
    shared = forms.BooleanField(required=False)

    def first_error(self) -> str:
        """Return the first thing that is wrong, as a sentence."""
        return next((str(errors[0]) for errors in self.errors.values() if errors), "")
