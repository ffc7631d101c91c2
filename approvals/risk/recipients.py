"""Rules about who gets the letter: look-alikes of known addresses, first contacts, large numbers of people."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice

from approvals.risk.findings import Finding, RiskContext, counted, finding
from approvals.showing.links import registered_domain, scripts, unicode_host
from common.fingerprint import Content, normalise_address

MANY, VERY_MANY = 10, 50

# A letter to more unknown domains than this is one mass mail; comparing each with each would take too long.
MAX_COMPARED = 100
MAX_NAMED = 20

# Providers resemble each other by chance (mail.com, gmail.com), and everybody writes to them.
_PROVIDERS = frozenset(
    "gmail.com mail.com ymail.com email.com hotmail.com outlook.com live.com msn.com yahoo.com aol.com icloud.com "
    "me.com mac.com gmx.net gmx.com gmx.de web.de proton.me protonmail.com pm.me fastmail.com hey.com zoho.com "
    "mail.ru qq.com 163.com 126.com t-online.de freenet.de orange.fr free.fr wanadoo.fr libero.it".split()
)
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))
_LETTERS = str.maketrans(
    # Digits and signs that pass for letters, then Cyrillic and Greek letters that look Latin.
    {"0": "o", "1": "l", "3": "e", "4": "a", "5": "s", "|": "l", "i": "l", "ı": "l", "ɡ": "g", "ɑ": "a"}
    | dict(zip("аеорсухіјѕԁһӏьгкмтвнԛԝ", "aeopcyxljsdhlbrkmtbhqw", strict=True))
    | dict(zip("αεορςυνικτω", "aeopcuvlktw", strict=True))
)
_ADDRESS = re.compile(r"<([^<>]*)>\s*$")


def bare_address(address: str) -> str:
    """Return the address itself, without a display name, normalised."""
    found = _ADDRESS.search(address[-1000:])
    return normalise_address(found.group(1) if found else address)


def everybody(content: Content) -> tuple[str, ...]:
    """Return each distinct address that gets the letter, those that the mailbox adds included."""
    added = [content.additions.get(name, "") for name in ("auto_cc", "auto_bcc", "oversight_copy")]
    extra = [part for text in added for part in text.split(",")]
    addresses = (bare_address(a) for a in (*content.to, *content.cc, *content.bcc, *extra))
    return tuple(dict.fromkeys(address for address in addresses if "@" in address))


def lookalikes(content: Content, context: RiskContext) -> Iterator[Finding]:
    """Recipients that are almost, but not quite, somebody known; and names written in mixed scripts."""
    return islice(_lookalikes(content, context), MAX_NAMED)


def _lookalikes(content: Content, context: RiskContext) -> Iterator[Finding]:
    known = {address.lower() for address in context.known_addresses}
    ours = {domain.lower().rstrip(".") for domain in context.own_domains}
    people: dict[str, list[str]] = defaultdict(list)
    for address in sorted(known):
        people[address.rpartition("@")[2]].append(address)
    domains = Neighbours((ours | {registered_domain(domain) for domain in people}) - _PROVIDERS)
    seen: dict[str, str] = {}
    addresses = [a for a in everybody(content) if a.lower() not in known]
    for address in addresses:
        domain = address.rpartition("@")[2]
        if domain in seen or len(seen) >= MAX_COMPARED:
            continue
        seen[domain] = resembles(domain, domains) if domain not in _PROVIDERS else ""
    for address in addresses[:1000]:
        domain = address.rpartition("@")[2]
        if kin := seen.get(domain, ""):
            yield _lookalike(address, kin, context, ours)
        elif mixed_scripts(domain):
            yield finding(
                "lookalike_recipient",
                "A recipient's domain mixes letters of different scripts.",
                f"{address} reads as {unicode_host(domain)}.",
                (address,),
            )
        elif near := _near_person(address.lower(), people[domain][:500]):
            yield finding(
                "lookalike_recipient",
                "A recipient's address is one letter from one that is known.",
                f"{address} was never written to; {near} was.",
                (address, near),
                level="notice",
            )


def first_contacts(content: Content, context: RiskContext) -> Iterator[Finding]:
    """Recipients outside that nobody has written to before."""
    if not context.known_addresses:
        return
    known = {address.lower() for address, times in context.known_addresses.items() if times > 0}
    ours = {domain.lower() for domain in context.own_domains}
    new = [a for a in everybody(content) if a.lower() not in known and a.rpartition("@")[2] not in ours]
    if len(new) == 1:
        yield finding("first_contact", "Nobody has written to this address before.", f"{new[0]}.", new)
    elif new:
        sentence = f"Nobody has written to {len(new):,} of these addresses before."
        yield finding("first_contact", sentence, f"{_some(new)}.", new)


def many(content: Content, context: RiskContext) -> Iterator[Finding]:
    """Letters to more people than an ordinary letter goes to."""
    number = len(everybody(content))
    if number <= MANY:
        return
    copies = ((len(content.to), "To"), (len(content.cc), "Cc"), (len(content.bcc), "Bcc"))
    detail = ", ".join(f"{count:,} in {name}" for count, name in copies if count)
    level = "high" if number > VERY_MANY else "notice"
    yield finding("many_recipients", f"This goes to {counted(number, 'person', 'people')}.", f"{detail}.", level=level)  # type: ignore[arg-type]


def resembles(domain: str, known: "Neighbours") -> str:
    """Return the known domain that `domain` could be taken for; empty when there is none or it is that domain."""
    labels = domain.split(".")
    inside = {".".join(labels[a:b]) for a in range(len(labels)) for b in range(a + 2, len(labels) + 1)}
    if any(part in known.domains and domain.endswith(part) for part in inside):
        return ""
    if held := sorted(inside & known.domains):
        return held[0]
    mine = registered_domain(domain)
    looks = skeleton(mine)
    letters = frozenset(looks)
    for other, registered, skeleton_of_other, letters_of_other in known.looks:
        if mine == registered:
            continue
        if looks == skeleton_of_other or (len(letters ^ letters_of_other) <= 4 and close(looks, skeleton_of_other)):
            return other
    return ""


class Neighbours:
    """Known domains with what each looks like, worked out once."""

    def __init__(self, domains: Iterable[str]) -> None:
        self.domains = frozenset(domains)
        self.looks = []
        for domain in sorted(self.domains):
            registered = registered_domain(domain)
            looks = skeleton(registered)
            self.looks.append((domain, registered, looks, frozenset(looks)))


@lru_cache(maxsize=8192)
def skeleton(domain: str) -> str:
    """Return what a domain looks like at a glance: confusable letters and pairs of letters made one."""
    text = unicodedata.normalize("NFKD", unicode_host(domain)).casefold()
    text = "".join(c for c in text if not unicodedata.combining(c)).translate(_LETTERS)
    for pair, letter in _PAIRS:
        text = text.replace(pair, letter)
    return text


def close(first: str, second: str) -> bool:
    """Whether two names are one slip of the hand apart, or two where both are long."""
    shorter = min(len(name.partition(".")[0]) for name in (first, second))
    limit = 2 if shorter >= 9 else 1
    if shorter < 4 or abs(len(first) - len(second)) > limit:
        return False
    return 0 < _distance(first, second, limit) <= limit


def mixed_scripts(domain: str) -> bool:
    """Whether one label of a domain is written with letters of more than one script."""
    return any(len(scripts(label)) > 1 for label in unicode_host(domain).split("."))


def _distance(first: str, second: str, limit: int) -> int:
    """Return how many letters were changed, added, left out or swapped with their neighbour; past `limit` any more."""
    while first and second and first[0] == second[0]:
        first, second = first[1:], second[1:]
    while first and second and first[-1] == second[-1]:
        first, second = first[:-1], second[:-1]
    if abs(len(first) - len(second)) > limit or min(len(first), len(second)) > 40:
        return limit + 1
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, 1):
        before, above, row = row, before, [i]
        for j, other in enumerate(second, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == second[j - 2] and first[i - 2] == other:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return row[-1]


def _near_person(address: str, known: Iterable[str]) -> str:
    """Return a known address at the same domain whose name is one letter away; numbered ones (sales2) do not count."""
    local = address.rpartition("@")[0]
    if len(local) < 4:
        return ""
    for other in known:
        name = other.rpartition("@")[0]
        if re.sub(r"\d", "", name) == re.sub(r"\d", "", local):
            continue
        if abs(len(name) - len(local)) <= 1 and _distance(name, local, 1) == 1:
            return other
    return ""


def _lookalike(address: str, kin: str, context: RiskContext, ours: set[str]) -> Finding:
    times = sum(n for a, n in context.known_addresses.items() if a.lower().rpartition("@")[2].endswith(kin))
    whose = "your own domain" if kin in ours else "one you write to"
    domain = address.rpartition("@")[2]
    if kin in domain:
        sentence = f"A recipient's domain has {whose} inside it, but is another one."
    else:
        sentence = f"A recipient's domain is almost {whose}."
    known = f", {counted(times, 'letter')} so far" if times else ""
    return finding("lookalike_recipient", sentence, f"{address} is not {kin}{known}.", (address, kin))


def _some(addresses: list[str]) -> str:
    rest = len(addresses) - 3
    return ", ".join(addresses[:3]) + (f" and {rest:,} more" if rest > 0 else "")
