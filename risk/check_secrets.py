"""Checks a message for secrets that should rarely be sent: keys and passwords, bank
account and card numbers.

Evidence is masked, because findings are stored and must not become another copy of a
secret. Every pattern has a maximum length, so hostile text cannot keep a process busy.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from common.fingerprint import Content
from rendering import RenderedMessage, stripped
from risk.findings import SHEET, Finding, RiskContext, finding, written_links

# How many secrets are searched for. More add nothing for the reader, and comparing each
# with all others would take too long.
MAX_FOUND = 100

# The kind of a value that the text itself calls a password or key.
_NAMED = "password or key"
# By kind, the format of well-known keys.
_KEYS = {
    line.partition(": ")[0]: re.compile(line.partition(": ")[2])
    for line in r"""
AWS access key: \b(?:AKIA|ASIA)[0-9A-Z]{16}\b
private key: -----BEGIN (?:[A-Z]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----
Stripe key: \b[sr]k_(?:live|test)_[0-9A-Za-z]{10,200}
MultiMail key: \bmm_(?:live|test)_[0-9A-Za-z_\-]{8,200}
GitHub token: \b(?:gh[pousr]_[0-9A-Za-z]{30,255}|github_pat_[0-9A-Za-z_]{30,255})
Slack token: \bxox[abeoprs]-[0-9A-Za-z\-]{10,255}
Google API key: \bAIza[0-9A-Za-z_\-]{35}
AI service key: \bsk-(?:ant-|proj-)?[0-9A-Za-z_\-]{24,255}
Discord webhook: discord(?:app)?\.com/api/webhooks/[0-9]{10,25}/[0-9A-Za-z_\-]{20,100}
signed token: \beyJ[0-9A-Za-z_\-]{10,2000}\.eyJ[0-9A-Za-z_\-]{10,4000}\.[0-9A-Za-z_\-]{10,1000}
""".strip().splitlines()
}
# "password: …", "api key is …", also in German, French and Spanish.
_NAMED_SECRET = re.compile(
    r"\b(?:pass(?:word|wort|phrase|code)|mot de passe|contraseña|api[ _\-]?key|"
    r"secret(?:[ _\-]?key)?|access[ _\-]?token|token)"
    r"[ \t]{0,3}(?:is|lautet|est|es|[:=])[ \t\n]{0,3}[`\"'“]?([^\s`\"'”<>]{8,200})",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(
    r"\b[a-z][a-z0-9+.\-]{1,20}://[^\s/:@]{1,100}:([^\s/@]{4,200})@", re.IGNORECASE
)
_IBAN = re.compile(r"\b[A-Z]{2}[0-9]{2}(?: ?[0-9A-Za-z]){10,32}")
_CARD = re.compile(r"(?<![0-9])[2-6][0-9](?:[ \-]?[0-9]){11,17}(?![0-9])")
# By country, the length of an IBAN.
_IBAN_LENGTHS = {
    pair[:2]: int(pair[3:])
    for pair in (
        "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DK:18 "
        "DO:28 EE:20 EG:29 ES:24 FI:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HR:21 HU:28 IE:22 IL:23 "
        "IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 MK:19 "
        "MR:27 MT:31 MU:30 NL:18 NO:15 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 SA:24 SC:31 SD:18 SE:24 SI:19 "
        "SK:24 SM:27 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20"
    ).split()
}


def words_of(content: Content, rendered: RenderedMessage) -> str:
    """Return all text of a message in which secrets are searched: subject, body, hidden
    passages, the body as it was written, and the targets of links.
    """
    hidden = [one.passage for one in rendered.differences]
    targets = [link.target for link in written_links(content, rendered)]
    written = stripped(content.markdown or "")
    subject = stripped(content.subject)
    return "\n".join((subject, rendered.plain, *hidden, written, *targets))


def secret_in_body(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Keys in well-known formats, and values that the text calls a password or key and
    that look random.
    """
    text = words_of(content, rendered)
    kind_by_value: dict[str, str] = {}
    for kind, value in _keys_in(text):
        if len(kind_by_value) >= MAX_FOUND:
            break
        if kind != _NAMED or not any(
            value in other or other in value for other in kind_by_value
        ):
            kind_by_value.setdefault(value, kind)
    if not kind_by_value:
        return
    kind = next(iter(kind_by_value.values()))
    article = "an" if kind[0] in "AI" else "a"
    sentence = f"The message may contain {article} {kind}."
    if len(kind_by_value) > 1:
        most = "+" if len(kind_by_value) >= MAX_FOUND else ""
        sentence = (
            f"The message may contain {len(kind_by_value)}{most} keys or passwords."
        )
    evidence = [f"{kind}: {masked(value)}" for value, kind in kind_by_value.items()]
    yield finding("secret_in_body", sentence, f"{evidence[0]}.", evidence, anchor=SHEET)


# Yields (kind, value) of everything that looks like a key or password.
def _keys_in(text: str) -> Iterator[tuple[str, str]]:
    for kind, shape in _KEYS.items():
        for match in shape.finditer(text):
            yield kind, match.group()
    for match in _NAMED_SECRET.finditer(text):
        value = match.group(1).rstrip(".,;)!?")
        if looks_random(value):
            yield _NAMED, value
    if "://" in text:
        for match in _URL_PASSWORD.finditer(text):
            yield "password in an address", match.group(1)


def payment_details(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """Bank account and card numbers whose check digits are right."""
    text = words_of(content, rendered)
    ibans = dict.fromkeys(map(iban_in, _IBAN.findall(text)))
    accounts = [one for one in ibans if one][:MAX_FOUND]
    digits = dict.fromkeys(map(card_in, _CARD.findall(text)))
    card_numbers = (d for d in digits if d and not any(d in a for a in accounts))
    cards = list(islice(card_numbers, MAX_FOUND))
    if accounts:
        bank = "a bank account number"
        if len(accounts) > 1:
            bank = f"{len(accounts)} bank account numbers"
        evidence = [f"{a[:4]} … {a[-4:]}" for a in accounts]
        yield finding(
            "payment_details",
            f"The message contains {bank}.",
            f"{evidence[0]}.",
            evidence,
            is_milder=True,
            anchor=SHEET,
        )
    if cards:
        number = "a card number" if len(cards) == 1 else f"{len(cards)} card numbers"
        evidence = [f"ends in {card[-4:]}" for card in cards]
        yield finding(
            "payment_details",
            f"The message contains {number}.",
            f"It {evidence[0]}.",
            evidence,
            anchor=SHEET,
        )


def looks_random(value: str) -> bool:
    """Whether a value looks like a password or key, and not like a word of the
    sentence: it has a digit, two kinds of characters, and is not too regular.
    """
    if value.lower().startswith(("http://", "https://", "www.")) or len(set(value)) < 6:
        return False
    kinds = sum(
        bool(re.search(shape, value))
        for shape in (r"[a-z]", r"[A-Z]", r"[0-9]", r"[^A-Za-z0-9]")
    )
    counts = Counter(value)
    entropy = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return bool(re.search(r"[0-9]", value)) and kinds >= 2 and entropy >= 2.75


def iban_in(text: str) -> str:
    """Return the IBAN with which `text` begins; empty if its country, length or check
    digits are wrong.
    """
    compact = text.replace(" ", "").upper()
    length = _IBAN_LENGTHS.get(compact[:2], 0)
    compact = compact[:length]
    if not length or len(compact) < length:
        return ""
    number = "".join(str(int(c, 36)) for c in compact[4:] + compact[:4])
    return compact if int(number) % 97 == 1 else ""


def card_in(text: str) -> str:
    """Return the card number with which `text` begins; empty if there is none. Groups
    of digits after it, such as its expiry date, do not belong to it.
    """
    groups = re.split(r"[ \-]", text)
    beginnings = ("".join(groups[:end]) for end in range(len(groups), 0, -1))
    return next(filter(is_card, beginnings), "")


def is_card(digits: str) -> bool:
    """Whether these digits are a card number by Luhn's check, and not all the same."""
    if not 13 <= len(digits) <= 19 or len(set(digits)) < 2:
        return False
    doubled = [int(d) * (1 + index % 2) for index, d in enumerate(reversed(digits))]
    return sum(n // 10 + n % 10 for n in doubled) % 10 == 0


def masked(value: str) -> str:
    """Return the first four characters of a secret and its length."""
    return f"{value[:4]}… ({len(value)} characters)"
