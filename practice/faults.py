"""The faults of practice messages: what can be wrong with a copy of a real message.
Pure; the list is published.

Each fault is real and can be seen on the page of the message. A fault that does not fit
a content, such as another sum in a message without one, is not planted in it.
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from common.fingerprint import Content


@dataclass(frozen=True)
class Planted:
    """A content with a fault, and in words what is wrong and where it can be seen."""

    content: Content
    fault: str
    explanation: str


# The content with a fault, and what is wrong; None where the fault does not fit.
Made = tuple[Content, str] | None
# What each fault is, as the page of the setting and the documentation list them.
FAULTS: Mapping[str, str] = {
    "recipient": "A recipient at a domain that looks like the real one",
    "amount": "A sum ten times too high",
    "link": "A link whose text names another address than it opens",
    "hidden": "Text that the recipient gets and does not see",
}

_LOOKALIKES = (
    ("m", "rn"),
    ("w", "vv"),
    ("l", "1"),
    ("o", "0"),
    ("i", "l"),
    ("e", "ee"),
    ("a", "aa"),
)
_CURRENCY = r"(?:EUR|USD|GBP|CHF|€|\$|£)"
_NUMBER = r"(?:\d{1,3}(?:[.,'\u2019]\d{3})+|\d{1,9})(?:[.,]\d{2})?"
_SUM = re.compile(
    rf"(?<![\w.,])({_CURRENCY}\s?)({_NUMBER})(?![\d%]|[.,]\d)|(?<![\w.,])({_NUMBER})(\s?{_CURRENCY})(?!\w)"
)
_PARTS = re.compile(r"(\d{1,3}(?:([.,'\u2019])\d{3})+|\d+)([.,]\d{2})?")
_URL = re.compile(
    r"(?<![\w(\[<\"'/=])https?://([a-z0-9.-]+\.[a-z]{2,})(/[\w./-]*\w)?(?![\w/])",
    re.IGNORECASE,
)
_BODY_END = re.compile(r"</body>", re.IGNORECASE)
_HIDDEN = "Please confirm the payment details by replying to this message today."


def plant(
    content: Content, rng: random.Random, *, without: frozenset[str] = frozenset()
) -> Planted | None:
    """Return the content with one fault that fits it, in random order; None where none
    does.

    `without` names faults that are not to be planted.
    """
    names = [name for name in FAULTS if name not in without]
    rng.shuffle(names)
    for name in names:
        made = _MAKERS[name](content, rng)
        if made is not None and made[0] != content:
            return Planted(made[0], name, made[1])
    return None


def _recipient(content: Content, rng: random.Random) -> Made:
    own = content.sender.rpartition("@")[2].strip("> ").lower()
    for index, address in enumerate(content.to):
        head, at, domain = address.rpartition("@")
        bare = domain.rstrip(">").lower()
        label, _, rest = bare.partition(".")
        fitting = [pair for pair in _LOOKALIKES if pair[0] in label]
        if not at or not rest or bare == own or not fitting or not label.isascii():
            continue
        other = f"{label.replace(*rng.choice(fitting), 1)}.{rest}"
        wrong = f"{head}@{other}{'>' if domain.endswith('>') else ''}"
        to = (*content.to[:index], wrong, *content.to[index + 1 :])
        why = f"The recipient's domain under To was {other}; it looks like {bare}, which the message is for."
        return replace(content, to=to), why
    return None


def _amount(content: Content, rng: random.Random) -> Made:
    text = content.markdown or content.html or ""
    # Within markup a number may be a size.
    found = [one for one in _SUM.finditer(text) if "<" not in one[0]]
    if not found:
        return None
    chosen = rng.choice(found)
    before = chosen[0]
    number = chosen[2] or chosen[3]
    if int(re.sub(r"\D", "", number)) == 0:
        return None
    # Written the same way: 1,200.50 becomes 12,000.50.
    parts = _PARTS.fullmatch(number)
    assert parts is not None, "only numbers that were found are multiplied"
    separator = parts[2] or ""
    whole = f"{10 * int(re.sub('[^0-9]', '', parts[1])):,}".replace(",", separator)
    after = before.replace(number, f"{whole}{parts[3] or ''}")
    why = f"The text named {after.strip()}; the real sum was {before.strip()}."
    # In the text and its HTML, so that both say the same.
    changed = replace(
        content,
        markdown=content.markdown and content.markdown.replace(before, after),
        html=content.html and content.html.replace(before, after),
    )
    return changed, why


def _link(content: Content, rng: random.Random) -> Made:
    found = _URL.search(content.markdown or "")
    if content.html or not found:
        return None
    # Of a domain that is reserved (RFC 2606), so that nobody who opens it comes to a
    # stranger's page.
    other = f"{found[1].lower().split('.')[-2]}-secure.example"
    opens = found[0].replace(found[1], other, 1)
    why = f"The link showed {found[1]} and opened {other}. The list of links under the text names both."
    markdown = f"{found.string[: found.start()]}[{found[0]}]({opens}){found.string[found.end() :]}"
    return replace(content, markdown=markdown), why


def _hidden(content: Content, rng: random.Random) -> Made:
    if not content.html:
        return None
    end = _BODY_END.search(content.html)
    at = end.start() if end else len(content.html)
    html = f'{content.html[:at]}<div style="display:none">{_HIDDEN}</div>{content.html[at:]}'
    why = f"The message held hidden text: “{_HIDDEN}” The findings and the view Text show it."
    return replace(content, html=html), why


_MAKERS: Mapping[str, Callable[[Content, random.Random], Made]] = {
    "recipient": _recipient,
    "amount": _amount,
    "link": _link,
    "hidden": _hidden,
}
