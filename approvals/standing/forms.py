"""What people choose and fill in about standing approvals: which messages, on what
terms, and why one ends.
"""

import re
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django import forms

from approvals.standing.ending import MAX_REASON
from approvals.standing.signing import (
    LONGEST,
    LONGEST_DELAY,
    MOST_AN_HOUR,
    MOST_PERCENT,
    SHORTEST_DELAY,
    Terms,
)
from common.mail_addresses import read_pattern
from common.pages import SentenceForm, WordsField, always
from common.time_zones import there, zone_name

_BETWEEN_WORDS = re.compile(r"[\s,;]+")
_PLACES = 4


class ClassForm(SentenceForm):
    """Which messages a page is about; `replaces` is the standing approval that a new
    version is made of.
    """

    mailbox = forms.IntegerField(min_value=1, max_value=2**63 - 1)
    key = forms.CharField(max_length=200)
    shape = forms.CharField(max_length=32)
    replaces = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1)


class ChangeForm(SentenceForm):
    """Whose waiting change a page shows."""

    change = forms.IntegerField(min_value=1, max_value=2**63 - 1)


class EndForm(SentenceForm):
    """Why a standing approval ends."""

    reason = WordsField(
        max_length=MAX_REASON,
        error_messages={
            "required": "Give a reason: it stays in the record.",
            "max_length": f"Keep the reason under {MAX_REASON} characters.",
        },
    )


def _whole(least: int, most: int, words: str) -> forms.IntegerField:
    return forms.IntegerField(
        min_value=least,
        max_value=most,
        error_messages=always(f"Enter {least} to {most:,} {words}."),
    )


class TermsForm(SentenceForm):
    """The terms of a standing approval; a field for the largest sum in each of the
    currencies.
    """

    ends_on = forms.DateField(
        error_messages=always(f"Choose a day in the next {LONGEST.days} days.")
    )
    cap_an_hour = _whole(1, MOST_AN_HOUR, "messages")
    delay_minutes = _whole(SHORTEST_DELAY, LONGEST_DELAY, "minutes")
    bounce_percent = _whole(0, MOST_PERCENT, "percent")
    recipients = WordsField(
        max_length=10_000,
        error_messages={
            "required": "Name at least one address or domain.",
            "max_length": "Name fewer addresses and domains.",
        },
    )

    def __init__(
        self, data: Any, *, currencies: Iterable[str], terms: Terms | None = None
    ) -> None:
        initial = {}
        if terms:
            initial = asdict(terms) | {
                "ends_on": f"{there(terms.ends_at):%Y-%m-%d}",
                "recipients": "\n".join(terms.recipients),
            }
            for currency, value in terms.sums or ():
                initial[f"sum_{currency}"] = f"{value:f}"
        super().__init__(data, initial=initial)
        self.currencies = tuple(currencies)
        for currency in self.currencies:
            self.fields[f"sum_{currency}"] = forms.DecimalField(
                label=currency or "Uncertain currency",
                required=False,
                min_value=Decimal(0),
                max_digits=14,
                decimal_places=_PLACES,
                error_messages=dict.fromkeys(
                    (
                        "invalid",
                        "min_value",
                        "max_digits",
                        "max_decimal_places",
                        "max_whole_digits",
                    ),
                    "Enter a sum such as 250.00, or nothing.",
                ),
            )

    def clean_recipients(self) -> tuple[str, ...]:
        typed = filter(None, _BETWEEN_WORDS.split(self.cleaned_data["recipients"]))
        try:
            return tuple(dict.fromkeys(map(read_pattern, typed)))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    def sums(self) -> list[forms.BoundField]:
        """Return the fields of the largest sums."""
        return [self[f"sum_{currency}"] for currency in self.currencies]

    def terms(self) -> Terms:
        """Return what was filled in; the last day counts whole, in the time zone of
        whoever asks.
        """
        typed = self.cleaned_data
        last = datetime.combine(
            typed["ends_on"], time(23, 59), tzinfo=ZoneInfo(zone_name())
        )
        sums = [(currency, typed[f"sum_{currency}"]) for currency in self.currencies]
        return Terms(
            ends_at=last,
            cap_an_hour=typed["cap_an_hour"],
            delay_minutes=typed["delay_minutes"],
            bounce_percent=typed["bounce_percent"],
            recipients=typed["recipients"],
            sums=tuple(
                (currency, value) for currency, value in sums if value is not None
            ),
        )
