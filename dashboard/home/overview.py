"""The home page's figures: waiting messages, decision times, reviewers and rejections.

It turns what the reads answer into words, charts and tables. It decides nothing, and
shows nobody more than they may see: every read starts from what is visible to the
actor.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from approvals.desk_messages import desk_messages
from approvals.models import Decision, Verdict, verdicts
from common.actors import Actor
from common.charts import Bars, bars, spoken
from common.counts import COUNTED, counted
from people.second_admin.setting import shows_people
from risk.rules import RULES

# How many kinds of findings have a separate bar.
SHOWN = 7
_AGES = {
    "minutes": "under 5 min",
    "hour": "5 min to 1 h",
    "hours": "1 h to 4 h",
    "day": "4 h to a day",
    "longer": "longer than a day",
}


@dataclass(frozen=True)
class Panel:
    """One chart with its words: `summary` says the same as the picture, `rows` are the
    table behind it.

    Without `rows` there is no picture, and `empty` says it all.
    """

    name: str
    title: str
    empty: str
    lead: str = ""
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    summary: str = ""
    bars: Bars | None = None


def overview_of(actor: Actor) -> list[Panel]:
    """Return the panels of the home page, in the order in which they are shown."""
    visible = desk_messages().visible_to(actor)
    of_the_week = Decision.objects.visible_to(actor).of_the_week().by_people()
    week = of_the_week.times()
    panels = [times(week)]
    # Figures of single people are read only where they are allowed.
    if shows_people():
        given = Verdict.objects.visible_to(actor)
        panels.append(people(list(given.of_the_week().paces())))
    panels.append(caught(of_the_week.caught_by_rule()))
    if week["number"] >= verdicts.MOST:
        panels = [
            replace(one, lead=f"{one.lead} Of the newest {verdicts.MOST:,} only.")
            for one in panels
        ]
    return [
        late(list(visible.awaiting_review().late_by_mailbox())),
        waiting(visible.in_queue().numbers_by_age()),
        *panels,
    ]


def late(found: Sequence[Mapping[str, Any]]) -> Panel:
    """Return the messages that are past a target of their review plan, by mailbox, the
    longest late first.
    """
    rows = [
        (row["mailbox__address"] or "Mailbox not known", row["number"], "rose")
        for row in found
    ]
    number = sum(count for _, count, _ in rows)
    return _counted_panel(
        rows,
        name="late",
        title="Late",
        lead=f"Past a target of their review plan: {counted(number) if number else 'none'}. First in the queue.",
        head=("Mailbox", "Messages"),
        empty="No message is late.",
        sentence="{number} in {words}",
    )


def waiting(ages: Mapping[str, int]) -> Panel:
    """Return the waiting messages by how long they have waited, the longest first."""
    tones = {"hours": "amber", "day": "amber", "longer": "rose"}
    late = sum(ages[name] for name in tones)
    return _counted_panel(
        [
            (words, ages[name], tones.get(name, "calm"))
            for name, words in reversed(_AGES.items())
        ],
        name="waits",
        title="Waiting too long",
        lead=f"Held for more than an hour: {counted(late) if late else 'none'}.",
        head=("Held for", "Messages"),
        empty="No messages are waiting.",
        sentence="{number} {words}",
    )


def times(week: Mapping[str, Any]) -> Panel:
    """Return how long messages were held until a person decided."""
    words = "No decisions in the last 7 days."
    if week["number"]:
        words = (
            "From held to decided by a person, in the last 7 days: "
            f"median {spoken(week['median'])}, 95th percentile {spoken(week['most'])}."
        )
    return Panel(name="times", title="Time to decision", empty=words)


def people(found: Sequence[Mapping[str, Any]]) -> Panel:
    """Return how much each reviewer decided, and how long messages were open before;
    sorted by name, not by number.
    """
    rows = [
        (
            row["person__name"] or row["person__email"],
            row["number"],
            row["approved"],
            spoken(row["median"]) if row["noted"] else "an unknown time",
        )
        for row in found
    ]
    return Panel(
        name="people",
        title="Decisions by reviewer",
        lead="In the last 7 days, with the median time a message was open. Messages differ, so this is no ranking.",
        head=("Who", "Decisions", "Approved", "Median"),
        rows=tuple(
            (name, str(number), str(approved), half)
            for name, number, approved, half in rows
        ),
        empty="No decisions in the last 7 days.",
        summary="; ".join(
            f"{name}: {number}, median {half}" for name, number, _, half in rows
        ),
        bars=bars(
            [
                (name, f"{number} · median {half}", [(number, "blue")])
                for name, number, _, half in rows
            ]
        ),
    )


def caught(found: Sequence[tuple[str, int, int]]) -> Panel:
    """Return rejections and change requests, by the findings of the rules."""
    named = [row for row in found if row[0]]
    named.sort(key=lambda row: (-row[1] - row[2], row[0]))
    findings = []
    for rule, rejected, back in named[:SHOWN]:
        known = RULES.get(rule)
        words = known.words if known else rule.replace("_", " ")
        findings.append((words.capitalize(), rejected, back))
    if others := named[SHOWN:]:
        rejected = sum(row[1] for row in others)
        findings.append(("Other findings", rejected, sum(row[2] for row in others)))
    findings += [("No finding", *row[1:]) for row in found if not row[0]]
    return Panel(
        name="caught",
        title="Rejections by finding",
        lead="Rejected, or changes requested, in the last 7 days. A message counts under each of its findings.",
        head=("Finding", "Rejected", "Changes requested"),
        rows=tuple(
            (words, str(rejected), str(back)) for words, rejected, back in findings
        ),
        empty="Nothing was rejected in the last 7 days.",
        summary="; ".join(
            f"{words}: {_both(rejected, back)}" for words, rejected, back in findings
        ),
        bars=bars(
            [
                (words, _both(one, two), [(one, "rose"), (two, "amber")])
                for words, one, two in findings
            ]
        ),
    )


def _counted_panel(
    rows: Iterable[tuple[str, int, str]], *, sentence: str, **more: Any
) -> Panel:
    """Return a panel of rows of words, how many, and a colour; without the rows of
    which there are none.

    `sentence` says one row in the summary.
    """
    some = [(words, number, tone) for words, number, tone in rows if number]
    return Panel(
        **more,
        rows=tuple((words, counted(number)) for words, number, _ in some),
        summary="; ".join(
            sentence.format(words=words, number=counted(number))
            for words, number, _ in some
        ),
        bars=bars(
            [
                (words, counted(number), [(min(number, COUNTED), tone)])
                for words, number, tone in some
            ]
        ),
    )


def _both(rejected: int, back: int) -> str:
    if not back:
        return f"{rejected} rejected"
    return f"{f'{rejected} rejected, ' if rejected else ''}{back} changes requested"
