"""Gathers the alike messages of a sheet, so that a person reads one of them and how
each of the others differs.

Alike means what it means in the queue: the same text but for names, numbers, amounts,
dates and addresses. Nothing that differs is left out: what is not the same as in the
message that is shown whole stands beside each of the others. Where most texts say the
same in a place, the others differ ("odd"); where they do not agree, each text has a
value of its own, such as a name or an order number. Comparing is bounded for hostile
texts.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from approvals.bulk.sheet import Difference, Item
from approvals.message_page.content.addresses import Field
from approvals.message_page.content.source import stretch_of
from approvals.message_page.content.word_diff import (
    Block,
    Effort,
    common_blocks,
    words_in,
)

# Two are read as quickly one after the other.
FEWEST = 3
# A message with more differences, or longer ones, is shown whole.
MAX_DIFFERENCES = 12
MAX_DIFFERENT = 600
# How many characters before a difference are shown with it.
BEFORE = 40
# Where a text says something else than most of them, and where each has a value of its
# own.
ODD = "odd"
OWN = "own"


@dataclass(frozen=True)
class Group:
    """Messages in the order shown: the `odd` ones that differ from most, one shown
    whole, the others. Or just one.
    """

    items: Sequence[Item]
    odd: int = 0


@dataclass(frozen=True)
class Place:
    """What each message says in one place, and where in its text that begins. `most` is
    None where they do not agree.

    Beside the text, a place is a `line` with this name.
    """

    values: tuple[str, ...]
    starts: tuple[int, ...]
    most: str | None
    line: str = ""

    def is_odd(self, index: int) -> bool:
        """Whether this text says something else than most."""
        return self.most is not None and self.values[index] != self.most


def grouped(items: Sequence[Item]) -> list[Group]:
    """Return the messages in groups, each where its first message stood. One that is
    like no other is alone in one.
    """
    effort = Effort()
    found: dict[Hashable, list[Item]] = {}
    for item in items:
        message = item.message
        content = item.content
        rendered = item.rendered
        in_common = (
            message.shape or message.pk,
            item.score.points,
            item.score.level,
            message.direction,
            message.mailbox_id,
            item.kind,
            content.send_at,
            tuple(sorted(content.additions.items())),
            tuple(content.unseen),
            rendered and (len(rendered.word_differences), len(rendered.blocked)),
        )
        found.setdefault(in_common, []).append(item)
    groups = []
    for members in found.values():
        places = _places_in(members, effort) if len(members) >= FEWEST else None
        if places is None:
            groups += [Group([one]) for one in members]
            continue
        indexes = range(len(members))
        odd = [at for at in indexes if any(place.is_odd(at) for place in places)]
        whole = next((at for at in indexes if at not in odd), 0)
        for at in indexes:
            _compare(at, members, places, whole=whole)
        first = [at for at in odd if at != whole]
        others = [at for at in indexes if at not in (*odd, whole)]
        groups.append(Group([members[at] for at in (*first, whole, *others)], len(odd)))
    return groups


def _places_in(members: Sequence[Item], effort: Effort) -> list[Place] | None:
    """Return where alike messages differ: in a line of facts, in the subject, in the
    text. None where comparing them would cost too much.
    """
    texts = places_of([one.text for one in members], effort)
    subjects = places_of(
        [one.content.subject for one in members], effort, line="Subject"
    )
    if texts is None or subjects is None:
        return None
    facts = [_facts(one) for one in members]
    lines = []
    for name in dict.fromkeys(name for one in facts for name in one):
        values = tuple(one.get(name, "") for one in facts)
        lines.append(Place(values, (0,) * len(values), agreed(values), name))
    return [*lines, *subjects, *texts]


def _facts(item: Item) -> dict[str, str]:
    """Return what most alike messages have the same beside their text; recipients by
    domain.
    """
    found = {}
    for line in item.fields:
        values = [
            f"{one.value} ({one.name})" if one.name else one.value
            for one in line.addresses
        ]
        if line.label == "To":
            domains = Counter(
                one.value.rpartition("@")[2].lower() for one in line.addresses
            )
            values = [
                f"{number} at {domain}" if number > 1 else domain
                for domain, number in domains.items()
            ]
        found[line.label] = ", ".join(sorted(values))
    links = item.rendered.links if item.rendered else ()
    found["Links"] = ", ".join(sorted({link.host or link.target for link in links}))
    found["Files"] = ", ".join(
        f"{one.name} {one.sha256[:10]}" for one in item.content.attachments
    )
    return found


def _compare(
    index: int, members: Sequence[Item], places: Sequence[Place], *, whole: int
) -> None:
    """Note on one message how it differs from the others, and from the one that is
    shown whole.
    """
    item = members[index]
    model = members[whole]
    odd = [place for place in places if place.is_odd(index)]
    in_text = [place for place in places if not place.line]
    own = [place for place in in_text if place.values[index] != place.values[whole]]
    is_short = (
        len(own) <= MAX_DIFFERENCES
        and sum(len(place.values[index]) for place in own) <= MAX_DIFFERENT
    )
    parts = _parts(item)
    known = _parts(model)
    own_parts = frozenset(name for name in parts if parts[name] != known[name])
    # A part that only the other one has cannot be shown beside this one.
    is_like = (
        index != whole
        and not odd
        and is_short
        and all(parts[name] for name in own_parts)
    )
    item.spans = [
        (
            place.starts[index],
            place.starts[index] + len(place.values[index]),
            ODD if place.is_odd(index) else OWN,
        )
        for place in in_text
    ]
    for place in own if is_like else odd:
        before = f"{place.line}:"
        if not place.line:
            line = item.text[: place.starts[index]].rpartition("\n")[2]
            if len(line) > BEFORE:
                line = "…" + line[-BEFORE:].partition(" ")[2]
            before = line.strip()
        value = stretch_of(place.values[index])
        item.differences.append(Difference(before, value, place.most))
    if is_like:
        item.like = model.message.public_id
        item.own_parts = own_parts
        # Its recipients, and each address line that is not the one of the message shown
        # whole.
        lines = {line.label: line for line in model.fields}
        own_lines = [
            line
            for line in item.fields
            if line.label == "To" or line != lines.get(line.label)
        ]
        labels = [line.label for line in item.fields]
        gone = [Field(label, ()) for label in lines if label not in labels]
        item.fields = own_lines + gone


def _parts(item: Item) -> dict[str, Sequence[Any]]:
    """Return what stands beside the text of a message."""
    links = item.rendered.links if item.rendered else ()
    trigger = item.message.trigger
    key = item.message.sent_by_key_name
    return {
        "findings": [(one.level, one.sentence, one.detail) for one in item.findings],
        "links": [(link.text, link.target, link.flags) for link in links],
        "files": item.content.attachments,
        "origin": (
            item.reason,
            trigger.get("discord_user"),
            trigger.get("discord_channel"),
            key,
        ),
    }


def agreed(values: Sequence[str]) -> str | None:
    """Return the value that more than half share; None where there is no such value."""
    value, number = Counter(values).most_common(1)[0]
    return value if number * 2 > len(values) else None


def places_of(
    texts: Sequence[str], effort: Effort, *, line: str = ""
) -> list[Place] | None:
    """Return the places in which the texts differ, in order; None where comparing them
    would cost too much.
    """
    words = [words_in(text) for text in texts]
    shared: list[Sequence[Block]] = []
    gaps = set()
    for other in words:
        blocks, is_fine = common_blocks(words[0], other, effort)
        if not is_fine:
            return None
        shared.append(blocks)
        # What lies between shared blocks, in words of the first text.
        for (x, y, length), (next_x, next_y, _) in pairwise(blocks):
            if (x + length, y + length) != (next_x, next_y):
                gaps.add((x + length, next_x))
    offsets = [[0, *accumulate(map(len, one))] for one in words]
    places = []
    for start, end in _joined(gaps, words[0]):
        values = []
        starts = []
        # A span holds every gap that it touches whole, so that both edges lie in or
        # beside a shared block. What a text inserted at the edges belongs to it.
        for own, common, offset in zip(words, shared, offsets, strict=True):
            begin = next(
                y + start - x for x, y, length in common if x <= start <= x + length
            )
            stop = next(
                y + end - x
                for x, y, length in reversed(common)
                if x <= end <= x + length
            )
            values.append("".join(own[begin:stop]))
            starts.append(offset[begin])
        places.append(Place(tuple(values), tuple(starts), agreed(values), line))
    return places


def _joined(
    gaps: Iterable[tuple[int, int]], words: Sequence[str]
) -> list[tuple[int, int]]:
    """Join gaps that overlap, touch, or have only a blank between them, as first name
    and last name have.
    """
    spans: list[tuple[int, int]] = []
    for start, end in sorted(set(gaps)):
        between = "".join(words[spans[-1][1] : start]) if spans else ""
        is_near = bool(spans) and not between.strip() and "\n" not in between
        if is_near:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return spans
