"""All parsing of what admins send about alerts. The address of a webhook goes in and never comes out again."""

import re
from collections.abc import Iterable
from typing import Any

from django import forms

from alerts.channels.discord.addresses import problem_with
from alerts.channels.endpoints import problem_with_endpoint, problem_with_inngest
from alerts.destinations.commands import Settings
from alerts.destinations.routes import Wanted
from alerts.events import EVENTS
from alerts.models import Delivery, Destination

_MAX_ADDRESS = 500
Kind = Destination.Kind
_PROBLEM_WITH = {
    Kind.DISCORD_WEBHOOK: problem_with,
    Kind.INNGEST: problem_with_inngest,
    Kind.SIGNED_WEBHOOK: problem_with_endpoint,
}
_EVENTS = [(event.name, event.words) for event in EVENTS]
_NO_SUCH_EVENT = "Choose from the events that stand here."
# What most want to be told: that somebody must decide, and that something went wrong.
_USUAL = ("email.held", "email.bounced", "email.complained", "email.failed", "decision.unknown")
_CHANNEL = re.compile(r"(?:https://(?:\w+\.)?discord(?:app)?\.com/channels/[0-9]+/)?(?P<id>[0-9]{1,20})/?", re.ASCII)


class DestinationForm(forms.Form):
    """A destination as it is added or changed; without an address it keeps the one that it has."""

    kind = forms.ChoiceField(
        required=False,
        choices=Kind.choices,
        error_messages={"invalid_choice": "Choose one of the kinds that stand here."},
    )
    name = forms.CharField(
        max_length=80,
        error_messages={
            "required": "Give it a name, such as the channel's: #approvals.",
            "max_length": "Keep the name under 80 characters.",
        },
    )
    url = forms.CharField(
        required=False,
        max_length=_MAX_ADDRESS,
        error_messages={"max_length": "The address is longer than any webhook's."},
    )
    channel = forms.CharField(
        required=False, max_length=200, error_messages={"max_length": "No channel's id is so long."}
    )
    answers_channel = forms.CharField(
        required=False, max_length=100, error_messages={"max_length": "No channel's name is so long."}
    )
    privacy = forms.ChoiceField(
        choices=Destination.Privacy.choices,
        error_messages={
            "required": "Choose what a card shows.",
            "invalid_choice": "Choose one of the three levels of what a card shows.",
        },
    )
    events = forms.MultipleChoiceField(
        required=False, choices=_EVENTS, error_messages={"invalid_choice": _NO_SUCH_EVENT}
    )
    connections = forms.MultipleChoiceField(
        required=False, error_messages={"invalid_choice": "One of these connections is gone. Choose again."}
    )
    witnesses = forms.BooleanField(required=False)

    def __init__(self, *args: Any, connections: Iterable[tuple[int, str]], kind: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.choices = [(str(key), name) for key, name in connections]
        # Of one that is there; it stays what it is.
        self.of_kind, self.is_new = kind, not kind
        field = self.fields["connections"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = self.choices

    def clean_kind(self) -> str:
        """Return what it is, or is to be; without a word of it, a Discord webhook."""
        return self.of_kind or self.cleaned_data["kind"] or Kind.DISCORD_WEBHOOK

    def clean_url(self) -> str:
        """Return the address, or say what is wrong with it without repeating it."""
        url = str(self.cleaned_data["url"] or "").strip()
        problem_of = _PROBLEM_WITH.get(Kind(self.cleaned_data.get("kind") or Kind.DISCORD_WEBHOOK))
        if problem_of is None:
            return ""
        if not url:
            if self.is_new:
                raise forms.ValidationError("Put in the address of the webhook.")
            return ""
        if problem := problem_of(url):
            raise forms.ValidationError(problem)
        return url

    def clean_channel(self) -> str:
        """Return the id of the channel that the bot posts to; the channel's address, which ends with it, will do."""
        if self.cleaned_data.get("kind") != Kind.DISCORD_BOT:
            return ""
        typed = str(self.cleaned_data["channel"] or "").strip()
        found = _CHANNEL.fullmatch(typed)
        if found is None:
            said = "This is not a channel's id, which has digits alone." if typed else "Put in the channel's id."
            raise forms.ValidationError(
                f"{said} In Discord, switch on Developer Mode, press the channel longer or with the right button, and "
                "choose “Copy Channel ID”."
            )
        return found["id"]

    def clean_answers_channel(self) -> str:
        """Return the channel as it is shown: its id where its address was typed, its name without the # before it."""
        typed = str(self.cleaned_data["answers_channel"] or "").strip(" #")
        found = _CHANNEL.fullmatch(typed)
        return found["id"] if found else typed

    def clean(self) -> dict[str, Any]:
        """Refuse a destination that nothing would ever be posted to, and answers where nobody can read them."""
        given = super().clean() or self.cleaned_data
        is_discord = given.get("kind") in (Kind.DISCORD_WEBHOOK, Kind.DISCORD_BOT)
        if given.get("answers_channel") and not is_discord:
            self.add_error("answers_channel", "Only a place in Discord can answer what began in a channel.")
        if given.get("witnesses") and given.get("kind") != Kind.DISCORD_WEBHOOK:
            self.add_error("witnesses", "Only a Discord webhook can keep the ledger's heads.")
        told = given.get("events") or given.get("witnesses") or given.get("answers_channel")
        if self.is_new and "events" not in self.errors and not told:
            self.add_error("events", "Choose at least one event, or nothing is ever told there.")
        return given

    def wanted(self) -> Settings:
        """Return what was chosen, for a command."""
        given = self.cleaned_data
        return Settings(
            name=given["name"],
            privacy=given["privacy"],
            events=given["events"],
            connections=[int(key) for key in given["connections"]],
            witnesses=given["witnesses"],
            kind=given["kind"],
            channel=given["channel"],
            answers_channel=given["answers_channel"],
        )

    @property
    def typed(self) -> dict[str, Any]:
        """What the form shows again: all but the address."""
        if not self.is_bound:
            return {**self.initial}
        data: Any = self.data
        return {
            "kind": self.of_kind or data.get("kind") or Kind.DISCORD_WEBHOOK,
            "name": data.get("name", "")[:200],
            "channel": data.get("channel", "")[:200],
            "answers_channel": data.get("answers_channel", "")[:200],
            "privacy": data.get("privacy", ""),
            "events": data.getlist("events"),
            "connections": data.getlist("connections"),
            "witnesses": "witnesses" in data,
        }

    def problems(self) -> dict[str, str]:
        """Return the first thing that is wrong with each field, as a sentence."""
        return {str(name): str(errors[0]) for name, errors in self.errors.items() if errors}


def initial_of(destination: Destination | None) -> dict[str, Any]:
    """Return what the form begins with: a destination as it is, or what suits most."""
    if destination is None:
        begin = {"kind": Kind.DISCORD_WEBHOOK, "name": "", "privacy": "headers", "witnesses": False}
        return {**begin, "events": [*_USUAL], "connections": []}
    kept = ("kind", "name", "privacy", "witnesses", "channel", "answers_channel")
    return {name: getattr(destination, name) for name in kept}


class RouteForm(forms.Form):
    """A route: which events, and where they must happen."""

    events = forms.MultipleChoiceField(
        choices=_EVENTS,
        error_messages={
            "required": "Choose at least one event, or nothing is told.",
            "invalid_choice": _NO_SUCH_EVENT,
        },
    )
    place = forms.ChoiceField(
        required=False, error_messages={"invalid_choice": "This connection or mailbox is gone. Choose again."}
    )

    def __init__(self, *args: Any, places: Iterable[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.places = [("", "all connections, also those added later"), *places]
        field = self.fields["place"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = self.places

    def wanted(self) -> Wanted:
        """Return the route that was put together, for a command or a preview."""
        kind, _, key = str(self.cleaned_data["place"]).partition("-")
        where = {kind: int(key)} if key else {}
        return Wanted(self.cleaned_data["events"], **where)


class LogForm(forms.Form):
    """What a page of the log asks for. What is no answer is left out: the address may have been typed."""

    destination = forms.IntegerField(required=False, min_value=1, max_value=2**31 - 1)
    state = forms.ChoiceField(required=False, choices=Delivery.State.choices)
    kind = forms.ChoiceField(required=False, choices=Delivery.Kind.choices)
    before = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1)

    def filters(self) -> dict[str, Any]:
        """Return what was asked for and can be."""
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value}
