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
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

from approvals.bulk.sheet import Comparison, Difference, Item
from approvals.message_page.content.addresses import Field
from approvals.message_page.content.source import Stretch, stretch_of
from approvals.message_page.content.word_diff import Effort, common_blocks, words_in

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

# A block that two texts share: where it begins in each, and its length, in words.
Block = tuple[int, int, int]


@dataclass(frozen=True)
class Group:
    """Messages in the order shown: the `odd` ones that differ from most, one shown
    whole, the others. Or just one.
    """

    items: Sequence[Item]
    odd: int = 0

    @property
    def number(self) -> int:
        """How many messages it holds."""
        return len(self.items)


@dataclass(frozen=True)
class Place:
    """What each text says in one place, and where in the text that begins. `most` is
    None where they do not agree.
    """

    values: tuple[str, ...]
    starts: tuple[int, ...]
    most: str | None

    def is_odd(self, index: int) -> bool:
        """Whether this text says something else than most."""
        return self.most is not None and self.values[index] != self.most


@dataclass(frozen=True)
class _Places:
    """Where alike messages differ: in a line of facts, by its name; in the subject; in
    the text.
    """

    facts: Sequence[tuple[str, Place]]
    text: Sequence[Place]

    def is_odd(self, index: int) -> bool:
        return any(
            place.is_odd(index)
            for place in (*(place for _, place in self.facts), *self.text)
        )


def grouped(items: Sequence[Item]) -> list[Group]:
    """Return the messages in groups, each where its first message stood. One that is
    like no other is alone in one.
    """
    effort = Effort()
    found: dict[Hashable, list[Item]] = {}
    for item in items:
        found.setdefault(
            _key(item) if item.message.shape else item.message.pk, []
        ).append(item)
    return [group for members in found.values() for group in _groups(members, effort)]


def _key(item: Item) -> Hashable:
    """Return what alike messages have in common beside their words."""
    message = item.message
    content = item.content
    rendered = item.rendered
    return (
        *(
            message.shape,
            item.score.points,
            item.score.level,
            message.direction,
            message.mailbox_id,
            item.kind,
        ),
        *(
            content.send_at,
            tuple(sorted(content.additions.items())),
            tuple(content.unseen),
        ),
        *((len(rendered.word_differences), len(rendered.blocked)) if rendered else ()),
    )


def _groups(members: Sequence[Item], effort: Effort) -> list[Group]:
    places = _compared(members, effort) if len(members) >= FEWEST else None
    if places is None:
        return [Group([one]) for one in members]
    odd = [index for index in range(len(members)) if places.is_odd(index)]
    whole = next((index for index in range(len(members)) if index not in odd), 0)
    for index in range(len(members)):
        _compare(index, members, places, whole=whole)
    first = [index for index in odd if index != whole]
    others = [index for index in range(len(members)) if index not in (*odd, whole)]
    return [Group([members[index] for index in (*first, whole, *others)], len(odd))]


def _compared(members: Sequence[Item], effort: Effort) -> _Places | None:
    texts = places_of([one.text for one in members], effort)
    subjects = places_of([one.content.subject for one in members], effort)
    if texts is None or subjects is None:
        return None
    lines = [_facts(one) for one in members]
    facts = []
    for name in dict.fromkeys(name for line in lines for name in line):
        values = tuple(line.get(name, "") for line in lines)
        facts.append((name, Place(values, (0,) * len(values), agreed(values))))
    return _Places([*facts, *(("Subject", place) for place in subjects)], texts)


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
    index: int, members: Sequence[Item], places: _Places, *, whole: int
) -> None:
    """Note on one message how it differs from the others, and from the one that is
    shown whole.
    """
    item = members[index]
    model = members[whole]
    odd = list(_odd_ones(index, item, places))
    own = [
        _difference(place, index, item.text)
        for place in places.text
        if place.values[index] != place.values[whole]
    ]
    is_short = (
        len(own) <= MAX_DIFFERENCES
        and sum(one.value.total for one in own) <= MAX_DIFFERENT
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
    spans = [
        (
            place.starts[index],
            place.starts[index] + len(place.values[index]),
            ODD if place.is_odd(index) else OWN,
        )
        for place in places.text
    ]
    item.compared = Comparison(
        differences=own if is_like else odd,
        like=model.message.public_id if is_like else None,
        own_parts=own_parts,
        begun=_runs(item.text, spans, 0, item.cut),
        rest=_runs(item.text, spans, item.cut, len(item.text)),
    )
    if is_like:
        item.fields = _own_lines(item, model)


def _odd_ones(index: int, item: Item, places: _Places) -> Iterator[Difference]:
    for name, place in places.facts:
        if place.is_odd(index):
            yield Difference(
                f"{name}:", stretch_of(place.values[index], page=1), place.most
            )
    for place in places.text:
        if place.is_odd(index):
            yield replace(_difference(place, index, item.text), most=place.most)


def _difference(place: Place, index: int, text: str) -> Difference:
    line = text[: place.starts[index]].rpartition("\n")[2]
    before = line if len(line) <= BEFORE else "…" + line[-BEFORE:].partition(" ")[2]
    return Difference(before.strip(), stretch_of(place.values[index], page=1))


def _own_lines(item: Item, model: Item) -> list[Field]:
    """Return the recipients, and each address line that is not the one of the message
    shown whole.
    """
    known = {line.label: line for line in model.fields}
    gone = [
        Field(label, ())
        for label in known
        if label not in {line.label for line in item.fields}
    ]
    return [
        *(
            line
            for line in item.fields
            if line.label == "To" or line != known.get(line.label)
        ),
        *gone,
    ]


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


def _runs(
    text: str, spans: Sequence[tuple[int, int, str]], start: int, end: int
) -> list[tuple[str, Stretch]]:
    runs = []
    at = start
    for begin, stop, kind in spans:
        begin = max(begin, at)
        stop = min(stop, end)
        if begin < stop:
            runs += [("", text[at:begin]), (kind, text[begin:stop])]
            at = stop
    return [
        (kind, stretch_of(part, page=1))
        for kind, part in (*runs, ("", text[at:end]))
        if part
    ]


def agreed(values: Sequence[str]) -> str | None:
    """Return the value that more than half share; None where there is no such value."""
    value, number = Counter(values).most_common(1)[0]
    return value if number * 2 > len(values) else None


def places_of(texts: Sequence[str], effort: Effort) -> list[Place] | None:
    """Return the places in which the texts differ, in order; None where comparing them
    would cost too much.
    """
    words = [words_in(text) for text in texts]
    shared: list[Sequence[Block]] = []
    for other in words:
        blocks = common_blocks(words[0], other, effort)
        if blocks is None:
            return None
        shared.append(blocks)
    spans = _joined((gap for blocks in shared for gap in _gaps(blocks)), words[0])
    offsets = [[0, *accumulate(map(len, one))] for one in words]
    return [_place(span, words, shared, offsets) for span in spans]


def _gaps(blocks: Sequence[Block]) -> Iterator[tuple[int, int]]:
    """Yield what lies between shared blocks, in words of the first text."""
    for (x, y, length), (next_x, next_y, _) in pairwise(blocks):
        if (x + length, y + length) != (next_x, next_y):
            yield x + length, next_x


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


def _place(
    span: tuple[int, int],
    words: Sequence[Sequence[str]],
    shared: Sequence[Sequence[Block]],
    offsets: Sequence[Sequence[int]],
) -> Place:
    """Return what each text says in a span of the first one, with what it inserted at
    the edges of that.

    A span holds every gap that it touches whole, so that both edges lie in or beside a
    shared block.
    """
    start, end = span
    values = []
    starts = []
    for own, blocks, offset in zip(words, shared, offsets, strict=True):
        begin = next(
            y + start - x for x, y, length in blocks if x <= start <= x + length
        )
        stop = next(
            y + end - x for x, y, length in reversed(blocks) if x <= end <= x + length
        )
        values.append("".join(own[begin:stop]))
        starts.append(offset[begin])
    return Place(tuple(values), tuple(starts), agreed(values))
