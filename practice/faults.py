"""The faults of practice messages: puts one fault into a copy of a message's content.
Reads no database; the list of faults is public.

A reviewer can see each fault on the page of the message. A fault that does not fit a
content is not used: the sum cannot be changed in a text that names no sum.
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from common.fingerprint import Content
from common.tables import table_pairs


@dataclass(frozen=True)
class Planted:
    """A content with a fault, and a sentence that says what is wrong with it."""

    content: Content
    # A key of FAULTS.
    fault: str
    explanation: str


# A content with a fault, and what is wrong with it; None if the fault does not fit.
Made = tuple[Content, str] | None
# By name what each fault is, as the page of practice messages lists them.
FAULTS: Mapping[str, str] = {
    "recipient": "A recipient at a domain that looks like the real one",
    "amount": "A sum ten times too high",
    "link": "A link whose text names another address than it opens",
    "hidden": "Text that the recipient gets and does not see",
}

# Letters of a domain, and what can be mistaken for them.
_LOOKALIKES = table_pairs("""
m | rn
w | vv
l | 1
o | 0
i | l
e | ee
a | aa
""")
_CURRENCY = r"(?:EUR|USD|GBP|CHF|€|\$|£)"
_NUMBER = r"(?:[0-9]{1,3}(?:[.,'\u2019][0-9]{3})+|[0-9]{1,9})(?:[.,][0-9]{2})?"
# A number with its currency before or after it. No percentage, no part of a number.
_SUM = re.compile(
    rf"(?<![\w.,])({_CURRENCY}\s?)({_NUMBER})(?![\d%]|[.,]\d)|(?<![\w.,])({_NUMBER})(\s?{_CURRENCY})(?!\w)"
)
# The whole part of a number, its separator of thousands, and its decimals.
_PARTS = re.compile(r"([0-9]{1,3}(?:([.,'\u2019])[0-9]{3})+|[0-9]+)([.,][0-9]{2})?")
# A bare web address: not the target of a Markdown link, and not within markup.
_URL = re.compile(
    r"(?<![\w(\[<\"'/=])https?://([a-z0-9.-]+\.[a-z]{2,})(/[\w./-]*\w)?(?![\w/])",
    re.IGNORECASE,
)
_BODY_END = re.compile(r"</body>", re.IGNORECASE)
# Characters of a content that patterns read in the worker: others are not copied.
MAX_TEXT = 20_000
_HIDDEN = "Please confirm the payment details by replying to this message today."


def plant(
    content: Content, rng: random.Random, *, without: frozenset[str] = frozenset()
) -> Planted | None:
    """Return the content with one fault, chosen at random from those that fit it; None
    if none fits, or if it has more than MAX_TEXT characters. The faults named in
    `without` are not used.
    """
    if len(f"{content.markdown}{content.html}") > MAX_TEXT:
        return None
    names = [name for name in FAULTS if name not in without]
    rng.shuffle(names)
    for name in names:
        with_fault = _MAKERS[name](content, rng)
        if with_fault is not None and with_fault[0] != content:
            return Planted(with_fault[0], name, with_fault[1])
    return None


def _recipient(content: Content, rng: random.Random) -> Made:
    # Replaces the domain of a recipient in To by one that looks like it.
    sender_domain = content.sender.rpartition("@")[2].strip("> ").lower()
    for index, address in enumerate(content.to):
        name_part, at, domain = address.rpartition("@")
        real_domain = domain.rstrip(">").lower()
        label, _, rest = real_domain.partition(".")
        fitting = [pair for pair in _LOOKALIKES.items() if pair[0] in label]
        if (
            not at
            or not rest
            or real_domain == sender_domain
            or not fitting
            or not label.isascii()
        ):
            continue
        lookalike = f"{label.replace(*rng.choice(fitting), 1)}.{rest}"
        wrong_address = f"{name_part}@{lookalike}{'>' if domain.endswith('>') else ''}"
        to = (*content.to[:index], wrong_address, *content.to[index + 1 :])
        why = f"The recipient's domain under To was {lookalike}; it looks like {real_domain}, which the message is for."
        return replace(content, to=to), why
    return None


def _amount(content: Content, rng: random.Random) -> Made:
    # Multiplies one sum in the text by ten.
    text = content.markdown or content.html or ""
    # Within markup a number may be a size.
    sums = [one for one in _SUM.finditer(text) if "<" not in one[0]]
    if not sums:
        return None
    chosen = rng.choice(sums)
    old_sum = chosen[0]
    number = chosen[2] or chosen[3]
    if int(re.sub(r"\D", "", number)) == 0:
        return None
    # Ten times the sum, written the same way: 1,200.50 becomes 12,000.50.
    parts = _PARTS.fullmatch(number)
    assert parts is not None, "only numbers that were found are multiplied"
    separator = parts[2] or ""
    ten_times = f"{10 * int(re.sub('[^0-9]', '', parts[1])):,}".replace(",", separator)
    new_sum = old_sum.replace(number, f"{ten_times}{parts[3] or ''}")
    why = f"The text named {new_sum.strip()}; the real sum was {old_sum.strip()}."

    def in_new(text: str | None) -> str | None:
        # Not where the old sum is the beginning of a larger one.
        return text and _SUM.sub(
            lambda found: new_sum if found[0] == old_sum else found[0], text
        )

    # In the Markdown and in the HTML, so that both say the same.
    changed = replace(
        content, markdown=in_new(content.markdown), html=in_new(content.html)
    )
    return changed, why


def _link(content: Content, rng: random.Random) -> Made:
    # Makes a bare link in the Markdown one that opens another domain.
    link = _URL.search(content.markdown or "")
    if content.html or not link:
        return None
    # The top-level domain .example is reserved (RFC 2606): opening the link leads to
    # nobody's page.
    other_domain = f"{link[1].lower().split('.')[-2]}-secure.example"
    opens = link[0].replace(link[1], other_domain, 1)
    why = f"The link showed {link[1]} and opened {other_domain}. The list of links under the text names both."
    markdown = (
        f"{link.string[: link.start()]}[{link[0]}]({opens}){link.string[link.end() :]}"
    )
    return replace(content, markdown=markdown), why


def _hidden(content: Content, rng: random.Random) -> Made:
    # Adds a sentence to the HTML that mail programs do not show.
    if not content.html:
        return None
    end = _BODY_END.search(content.html)
    position = end.start() if end else len(content.html)
    html = f'{content.html[:position]}<div style="display:none">{_HIDDEN}</div>{content.html[position:]}'
    why = f"The message held hidden text: “{_HIDDEN}” The findings and the view Text show it."
    return replace(content, html=html), why


_MAKERS: Mapping[str, Callable[[Content, random.Random], Made]] = {
    "recipient": _recipient,
    "amount": _amount,
    "link": _link,
    "hidden": _hidden,
}
