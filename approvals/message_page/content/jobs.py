"""Finds statements in a message that may be binding: sums, dates, names, promises and
the domains of links. Each one says whether the thread has it too.

They are found by regular expressions for some languages, so a statement that no
pattern matches is not listed. Nothing here judges a statement or reads the database.
Runs in the parser only: it reads any text.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from common.tables import table_pairs
from parsing.jobs import json_job
from risk.check_content import numbers

# How many facts of each kind are listed; of others only the number is shown.
MOST = 12
# How many characters of a message are searched; the page says so for a longer one.
READ = 100_000

_CURRENCY = r"(?:EUR|USD|GBP|CHF|JPY|SEK|NOK|DKK|PLN|CZK|INR|CAD|AUD|BRL|[€$£¥₹])"
_AMOUNT = r"[0-9]{1,3}(?:[ '’.,\u00a0\u202f][0-9]{3}){1,5}(?:[.,][0-9]{1,2})?|[0-9]{1,12}(?:[.,][0-9]{1,2})?"
_SUM = re.compile(
    rf"(?<![\w.,])(?:{_CURRENCY} ?(?:{_AMOUNT})"
    rf"|(?:{_AMOUNT}) ?(?:{_CURRENCY}|euros?|dollars?|pounds?|Franken))(?![\w])",
    re.IGNORECASE,
)
_MONTHS = """
january januar janvier enero jan
february februar février fevrier febrero feb
march märz mars marzo mar mär
april avril abril apr
may mai mayo
june juni juin junio jun
july juli juillet julio jul
august août aout agosto aug
september septembre septiembre sep sept
october oktober octobre octubre oct okt
november novembre noviembre nov
december dezember décembre decembre diciembre dec dez
"""
_MONTH_OF = {
    word: number
    for number, line in enumerate(_MONTHS.splitlines())
    for word in line.split()
}
_MONTH = "|".join(sorted(_MONTH_OF, key=len, reverse=True))
_DATE = re.compile(
    rf"\b(?P<y1>[12][0-9]{{3}})-(?P<m1>[01][0-9])-(?P<d1>[0-3][0-9])\b"
    rf"|\b(?P<d2>[0-3]?[0-9])(?:st|nd|rd|th|\.|er)? (?:of |de )?(?P<m2>{_MONTH})\b\.?"
    rf"(?:,? (?:de )?(?P<y2>[12][0-9]{{3}}))?"
    rf"|\b(?P<m3>{_MONTH})\.? (?P<d3>[0-3]?[0-9])(?:st|nd|rd|th)?\b(?:,? (?P<y3>[12][0-9]{{3}}))?"
    rf"|\b(?P<d4>[0-3]?[0-9])\.(?P<m4>[01]?[0-9])\.(?P<y4>[12][0-9]{{3}})(?![0-9])"
    rf"|\b(?P<a5>[0-3]?[0-9])/(?P<b5>[0-3]?[0-9])/(?P<y5>[12][0-9]{{3}})\b",
    re.IGNORECASE,
)
# A number after one of these is no day: "section 3 may apply", "version 1.2.2026".
_NUMBERED = re.compile(
    r"(?:\b(?:section|clause|chapter|article|paragraph|version|v|release|abschnitt|kapitel|artikel|ziffer|chapitre|"
    r"sección|cláusula|capítulo|artículo|no|nr)\b\.?|[§#]) ?$",
    re.IGNORECASE,
)
_WORD_OF_NAME = r"[^\W\d_a-z][\w'’.-]{0,30}"
_PARTICLES = r"(?:(?:van|von|de|da|der|den|le|la|del|di|bin|al) ){0,2}"
_NAME = rf"{_WORD_OF_NAME}(?: {_PARTICLES}{_WORD_OF_NAME}){{0,3}}"
_GREETING = re.compile(
    rf"(?:^|\n) ?(?:(?i:dear|hello|hi|hey|good (?:morning|day|afternoon|evening)|hallo|guten tag|liebe[rs]?|"
    rf"sehr geehrte[rs]?|bonjour|cher|chère|hola|estimad[oa]|querid[oa])) "
    rf"(?:(?i:mr|mrs|ms|dr|prof|herrn?|frau|monsieur|madame|señora?)\.? )?({_NAME}) ?[,!.:\n]"
)
_CLOSING = re.compile(
    rf"(?:^|\n) ?(?i:(?:(?:kind|best|warm|many) )?regards|best wishes|best|yours (?:sincerely|faithfully)|sincerely|"
    rf"thanks|thank you|cheers|"
    rf"(?:mit )?(?:freundlichen|besten|lieben|viele[n]?|herzlichen?|liebe|beste)(?: |\n)?grüßen?|"
    rf"cordialement|bien à vous|saludos(?: cordiales)?|un saludo|atentamente) ?[,.!]?[ \n]{{1,4}}({_NAME}) ?(?:\n|$)"
)
_PROMISE = re.compile(
    r"\b(?:(?:we|i) (?:will|shall|promise|guarantee|commit|undertake|agree|confirm|assure|waive|refund)|(?:we|i)['’]ll|"
    r"you (?:will|shall) (?:get|receive|have|be (?:paid|refunded|compensated))|"
    r"free of charge|money[ -]back|no later than|at no (?:extra )?cost|"
    r"(?:wir|ich) (?:werden?|verspreche[n]?|garantiere[n]?|sichere?n?|bestätige[n]?|erstatten?|verpflichten?)|"
    r"kostenlos|spätestens|"
    r"(?:nous|je) (?:allons|vais|promettons|promets|garantissons|garantis|nous engageons|m['’]engage|confirmons)|"
    r"gratuitement|"
    r"(?:vamos a|prometemos|garantizamos|nos comprometemos|confirmamos|le (?:enviaremos|devolveremos))|gratis)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n")
_CODES = table_pairs("""
€ | eur
$ | usd
£ | gbp
¥ | jpy
₹ | inr
euro | eur
euros | eur
""")
# Runs of blanks are collapsed before matching, so that the patterns do not backtrack
# over long runs.
_BLANKS = re.compile(r"[^\S\n]+")
# Characters of a promise's sentence that are shown.
MAX_SENTENCE = 400


@dataclass(frozen=True)
class Fact:
    """One statement, in the words of the message. `in_thread` says whether the thread
    has it too; None if there is no thread.
    """

    text: str
    in_thread: bool | None = None


@dataclass(frozen=True)
class Kind:
    """The facts of one kind, such as sums: at most MOST of them, and how many more
    there are.
    """

    name: str
    facts: Sequence[Fact]
    more: int


@dataclass(frozen=True)
class Facts:
    """The kinds of facts that the message has. `unread` is how many characters at its
    end were not searched.
    """

    kinds: Sequence[Kind]
    unread: int


def facts_of(text: str, domains: Sequence[str], thread: Sequence[str] = ()) -> Facts:
    """Return the facts of a message whose links lead to these domains. If there are
    texts of a thread, each fact is compared with them.
    """
    searched = _BLANKS.sub(" ", text[:READ])
    thread_text = _BLANKS.sub(" ", "\n".join(thread)[: 4 * READ]) if thread else None
    # Each finder yields the words of a fact and a key for comparison. The thread has
    # the fact too if the finder yields the same key for the thread or, with `by_words`,
    # if the thread's text contains the key.
    finders: Sequence[tuple[str, Callable[[str], _Found], bool]] = (
        ("Sums", _sums, False),
        ("Dates", _dates, False),
        ("Names", _names, True),
        ("Promises", _promises, True),
        ("Links to", lambda _: zip(domains, domains, strict=True), True),
    )
    kinds = []
    for name, finder, by_words in finders:
        words_by_key: dict[str, str] = {}
        for words, key in finder(searched):
            words_by_key.setdefault(key, words)
        listed = list(words_by_key.items())[:MOST]
        facts = [Fact(words) for _, words in listed]
        if thread_text is not None:
            keys_in_thread = (
                _folded(thread_text)
                if by_words
                else {key for _, key in finder(thread_text)}
            )
            facts = [Fact(words, key in keys_in_thread) for key, words in listed]
        if facts:
            kinds.append(Kind(name, facts, len(words_by_key) - len(listed)))
    return Facts(kinds, max(0, len(text) - READ))


_Found = Iterator[tuple[str, str]]


def _sums(text: str) -> _Found:
    for match in _SUM.finditer(text):
        words = " ".join(match.group().split())
        # The key is one spelling of the sum: its currency, and its number as
        # `numbers` spells it.
        unit = words.strip("0123456789.,'’ ").lower()
        yield words, " ".join((_CODES.get(unit, unit), *sorted(numbers(words))))


def _dates(text: str) -> _Found:
    for match in _DATE.finditer(text):
        before = match.start()
        if _NUMBERED.search(text[max(0, before - 16) : before]):
            continue
        # By the first letter of its name: year, month and day; or a day and a month,
        # of which nobody knows which is which.
        part = {name[0]: one for name, one in match.groupdict().items() if one}
        month = part.get("m") or part["b"]
        # The pattern ignores case as `re` does: ſ counts as s, and ı and İ as i.
        word = month.casefold().replace("ı", "i").replace("i\u0307", "i")
        number = _MONTH_OF.get(word) or int(month)
        day = int(part.get("d") or part["a"])
        if 1 <= day <= 31 and (1 <= number <= 12 or "b" in part):
            # The key leaves out the year, because messages often do.
            words = match.group().strip()
            yield words.rstrip(" .") if word in _MONTH_OF else words, f"{number}-{day}"


def _names(text: str) -> _Found:
    for shape in (_GREETING, _CLOSING):
        for match in shape.finditer(text):
            name = " ".join(match.group(1).split()).rstrip(".,")
            if name:
                yield name, name.casefold()


def _promises(text: str) -> _Found:
    for sentence in _SENTENCE_END.split(text):
        if _PROMISE.search(sentence):
            words = " ".join(sentence.split())[:MAX_SENTENCE]
            yield words, _folded(words)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


JOBS = {"state_facts": json_job(lambda request: facts_of(*request))}
