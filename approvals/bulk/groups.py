"""Groups the alike messages of a bulk sheet: a person reads one message of a group
whole, and of the others only how they differ from it.

Alike means the same as in the queue: the same text except for names, numbers, amounts,
dates and addresses. The places in which alike messages differ are of two kinds. If more
than half of the messages have the same value in a place, the messages with another
value are "odd" and are shown whole too. Otherwise each message has its "own" value
there, such as a name or an order number. What is compared has a limit, because texts may
be hostile.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

from approvals.bulk.sheet import Difference, Item
from approvals.message_page.content.addresses import Field
from approvals.message_page.content.source import NAMES, stretch_of
from approvals.message_page.content.word_diff import (
    Effort,
    common_blocks,
    words_in,
)

# Messages in the smallest group: grouping two would save no reading.
FEWEST = 3
# A message with more differences than this, or with more characters in them, is shown
# whole.
MAX_DIFFERENCES = 12
MAX_DIFFERENT = 600
# How many characters before a difference are shown with it.
BEFORE = 40
# The most pairs of words for the comparison of all messages.
MAX_EFFORT = 1_000_000_000
# The kinds of differing places; templates use them as CSS classes.
ODD = "odd"
OWN = "own"


@dataclass(frozen=True)
class Group:
    """Alike messages in the order in which the sheet shows them: the odd ones, the
    model (the one that is shown whole for the rest), the rest. A message that is like
    no other is a group of one.
    """

    items: Sequence[Item]
    # How many of the items are odd.
    odd: int = 0


@dataclass(frozen=True)
class Place:
    """A place in which alike messages differ. `values` has what each message says
    there, and `starts` at which character of its text the value begins.
    """

    values: Sequence[str]
    starts: Sequence[int]
    # The code of a line outside the text, such as "subject" or "files"; empty for a
    # place in the text.
    line: str = ""

    @cached_property
    def most(self) -> str | None:
        """The value of more than half of the messages; None if no value is that
        common.
        """
        value, number = Counter(self.values).most_common(1)[0]
        return value if number * 2 > len(self.values) else None

    def is_odd(self, index: int) -> bool:
        """Whether most messages share a value and the message of this index has
        another.
        """
        return self.most is not None and self.values[index] != self.most


def grouped(items: Sequence[Item]) -> list[Group]:
    """Return the messages in groups, in the order of their first messages.

    Also set on each grouped message how it differs (`_compare`). Messages that are too
    few to group, or too costly to compare, get a group each.
    """
    effort = Effort(MAX_EFFORT)
    alike: dict[Hashable, list[Item]] = {}
    for item in items:
        message = item.message
        content = item.content
        rendered = item.rendered
        # Only messages for which all these values are equal are compared. A message
        # without a shape is compared with none.
        in_common = (
            message.shape or message.pk,
            tuple((one.rule, one.level) for one in item.findings),
            message.direction,
            message.mailbox_id,
            item.kind,
            content.send_at,
            tuple(sorted(content.additions.items())),
            tuple(content.unseen),
            rendered and (len(rendered.differences), len(rendered.blocked)),
        )
        alike.setdefault(in_common, []).append(item)
    groups = []
    for members in alike.values():
        places = _places_in(members, effort) if len(members) >= FEWEST else None
        if places is None:
            groups += [Group([member]) for member in members]
            continue
        indexes = range(len(members))
        odd = [
            index for index in indexes if any(place.is_odd(index) for place in places)
        ]
        # The message that the others are compared with. If all are odd, it is the first.
        whole = next((index for index in indexes if index not in odd), 0)
        for index in indexes:
            _compare(index, members, places, whole=whole)
        order = [
            *(index for index in odd if index != whole),
            whole,
            *(index for index in indexes if index not in (*odd, whole)),
        ]
        groups.append(Group([members[index] for index in order], len(odd)))
    return groups


def _places_in(members: Sequence[Item], effort: Effort) -> list[Place] | None:
    """Return the places in which alike messages differ: the lines beside the text, then
    places in the subject, then places in the text. None if comparing would cost too
    much.
    """
    texts = places_of([member.text for member in members], effort)
    subjects = places_of(
        [member.content.subject for member in members], effort, line="subject"
    )
    if texts is None or subjects is None:
        return None
    lines_by_message = [_lines_beside_text(member) for member in members]
    places = []
    for name in dict.fromkeys(name for lines in lines_by_message for name in lines):
        values = [lines.get(name, "") for lines in lines_by_message]
        places.append(Place(values, [0] * len(values), name))
    return [*places, *subjects, *texts]


def _lines_beside_text(item: Item) -> dict[str, str]:
    """Return the addresses, links and files of a message, as text by the code of the
    line. Of the To line only the domains are compared, because each message of a group
    may go to another person.
    """
    lines = {}
    for field in item.fields:
        values = [
            f"{address.value} ({address.name})" if address.name else address.value
            for address in field.addresses
        ]
        if field.code == "to":
            domains = Counter(
                address.value.rpartition("@")[2].lower() for address in field.addresses
            )
            values = [
                f"{number} at {domain}" if number > 1 else domain
                for domain, number in domains.items()
            ]
        lines[field.code] = ", ".join(sorted(values))
    links = item.rendered.links if item.rendered else ()
    lines["links"] = ", ".join(sorted({link.host or link.target for link in links}))
    lines["files"] = ", ".join(
        f"{file.name} {file.sha256[:10]}" for file in item.content.attachments
    )
    return lines


def _compare(
    index: int, members: Sequence[Item], places: Sequence[Place], *, whole: int
) -> None:
    """Set `spans` and `differences` on the message of this index.

    If it is enough to read how the message differs from the model, the message of the
    index `whole`, then `like`, `changed_parts` and `fields` are set too, and the sheet
    shows only the differences. Otherwise `differences` has only what makes it odd.
    """
    item = members[index]
    model = members[whole]
    odd = [place for place in places if place.is_odd(index)]
    in_text = [place for place in places if not place.line]
    changed = [place for place in in_text if place.values[index] != place.values[whole]]
    is_short = (
        len(changed) <= MAX_DIFFERENCES
        and sum(len(place.values[index]) for place in changed) <= MAX_DIFFERENT
    )
    parts = _parts(item)
    parts_of_model = _parts(model)
    changed_parts = frozenset(
        name for name in parts if parts[name] != parts_of_model[name]
    )
    # If the model has, say, files and this message has none, no line beside this
    # message would show that. Then this message is shown whole.
    is_like = (
        index != whole
        and not odd
        and is_short
        and all(parts[name] for name in changed_parts)
    )
    item.spans = [
        (
            place.starts[index],
            place.starts[index] + len(place.values[index]),
            ODD if place.is_odd(index) else OWN,
        )
        for place in in_text
    ]
    for place in changed if is_like else odd:
        if place.line:
            before = f"{NAMES[place.line]}:"
        else:
            line = item.text[: place.starts[index]].rpartition("\n")[2]
            if len(line) > BEFORE:
                line = "…" + line[-BEFORE:].partition(" ")[2]
            before = line.strip()
        item.differences.append(
            Difference(before, stretch_of(place.values[index]), place.most)
        )
    if is_like:
        item.like = model.message.public_id
        item.changed_parts = changed_parts
        # The message's recipients are always shown, other address lines only if they
        # differ from the model's. A line that only the model has is shown empty.
        lines_of_model = {line.code: line for line in model.fields}
        shown_fields = [
            line
            for line in item.fields
            if line.code == "to" or line != lines_of_model.get(line.code)
        ]
        codes = [line.code for line in item.fields]
        missing = [Field(code, ()) for code in lines_of_model if code not in codes]
        item.fields = shown_fields + missing


def _parts(item: Item) -> dict[str, Sequence[Any]]:
    """Return what the sheet shows beside the text of a message, by the name of the
    part, in a form that can be compared.
    """
    links = item.rendered.links if item.rendered else ()
    trigger = item.message.trigger
    return {
        "findings": [(one.level, one.sentence, one.detail) for one in item.findings],
        "links": [(link.text, link.target, link.flags) for link in links],
        "files": item.content.attachments,
        "origin": (
            item.reason,
            trigger.get("discord_user"),
            trigger.get("discord_channel"),
            item.message.sent_by_key_name,
        ),
    }


def places_of(
    texts: Sequence[str], effort: Effort, *, line: str = ""
) -> list[Place] | None:
    """Return the places in which the texts differ, in order; None if comparing would
    cost too much.

    Each text is compared with the first. A gap is the words of the first text between
    two blocks that both texts share: the index of its first word, and of the word after
    it.
    """
    words_by_text = [words_in(text) for text in texts]
    first = words_by_text[0]
    blocks_by_text = []
    gaps = set()
    for words in words_by_text:
        blocks, is_compared = common_blocks(first, words, effort)
        if not is_compared:
            return None
        blocks_by_text.append(blocks)
        for (x, y, length), (next_x, next_y, _) in pairwise(blocks):
            if (x + length, y + length) != (next_x, next_y):
                gaps.add((x + length, next_x))
    # At which character each word begins.
    offsets_by_text = [[0, *accumulate(map(len, words))] for words in words_by_text]
    places = []
    for start, end in _joined(gaps, first):
        values = []
        starts = []
        for words, common, offsets in zip(
            words_by_text, blocks_by_text, offsets_by_text, strict=True
        ):
            # Gaps were joined, so a place never cuts a gap in two, and both ends of a
            # place lie in a block or at its edge. Words inserted at an edge belong to
            # the place.
            begin = next(
                y + start - x for x, y, length in common if x <= start <= x + length
            )
            stop = next(
                y + end - x
                for x, y, length in reversed(common)
                if x <= end <= x + length
            )
            values.append("".join(words[begin:stop]))
            starts.append(offsets[begin])
        places.append(Place(values, starts, line))
    return places


def _joined(
    gaps: Iterable[tuple[int, int]], words: Sequence[str]
) -> list[tuple[int, int]]:
    """Return the gaps in order, as start and end word. Gaps that overlap, touch, or
    have only blanks between them, as a first and a last name have, are joined to one.
    """
    spans: list[tuple[int, int]] = []
    for start, end in sorted(gaps):
        between = "".join(words[spans[-1][1] : start]) if spans else ""
        if spans and not between.strip() and "\n" not in between:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return spans
