"""Whom a letter greets, and the rule that compares the name with the people it goes to.

It knows the salutations of a dozen languages and some hundred given names, and says nothing where it is not sure.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from common.fingerprint import Content
from rendering import ShownLetter
from risk.addresses import bare_address, domain_of, everybody, shown_name
from risk.findings import Finding, finding, one_word, quoted
from risk.given_names import CYRILLIC, GIVEN_NAMES, KIN, NOT_NAMES, ROLES
from risk.lookalikes import is_one_slip_apart
from risk.places import SHEET

# Salutations as they begin a line, folded; the name follows at once or after titles.
_SALUTATION = re.compile(
    r"(?:my |meine? |mon |ma |mi )?"
    r"(?:dear(?:est)?|hello|hi|hey|hiya|good (?:morning|afternoon|evening|day)|greetings|"
    r"liebe[rs]?|hallo|guten (?:tag|morgen|abend)|sehr geehrte[rs]?|geehrte[rs]?|werte[rs]?|moin|servus|"
    r"cher|chere|bonjour|bonsoir|salut|"
    r"estimad[oa]s?|querid[oa]s?|apreciad[oa]s?|hola|buen(?:os dias|as tardes|as noches)|"
    r"caro|cara|gentile|egregi[oa]|ciao|buon(?:giorno|asera)|salve|"
    r"prezad[oa]s?|ola|bom dia|boa tarde|"
    r"beste|geachte|lieve|goedemorgen|goedemiddag|"
    r"hej|kara|basta|hei|kjaere|kaere|hyva|moi|"
    r"szanown[yaei]|drog[ia]|witaj|czesc|dzien dobry|"
    r"vazen[yaei]|mil[yae]|ahoj|dobry den|kedves|tisztelt|"
    r"sevgili|sayin|merhaba|draga|dragi|"
    r"уважаем(?:ыи|ая|ые)|дорог(?:ои|ая|ие)|здравствуи(?:те)?|привет|шановн(?:ии|а|і))(?= )",
)
TITLES = frozenset(
    "mr mrs ms mx miss sir madam dr prof professor doctor herr herrn frau hr fr monsieur madame mademoiselle mme mlle "
    "senor senora senorita sr sra srta don dona signor signora signore sig dott dottore dottoressa ing mag dipl "
    "meneer mevrouw heer de pan pani panie panu panna pane uram holgyem bey hanim господин госпожа".split()
)
# Inside of names.
PARTICLES = frozenset("van von vom zu zur der den ten ter da das de del della di do dos du la le bin ibn al el".split())
_LINE = re.compile(r"[^\n]{1,120}")
_WORD = re.compile(r"[^\W\d_][^\W\d_'’]{0,30}")
_DOTTED_TITLE = re.compile(r"\b([^\W\d_]{1,7})\.")
_END_OF_NAME = re.compile(r"[,!:;.?\n(–—|/&+]|\s-\s")
_LETTER = {"ø": "o", "ł": "l", "ı": "i", "đ": "d", "ß": "s"}
_TWO_LETTERS = (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"), ("å", "aa"), ("ø", "oe"), ("æ", "ae"))

# A letter says whom it greets at its beginning.
MAX_LINES, MAX_CHARACTERS = 8, 2000
# One that goes to more people than this greets no single one of them.
MAX_PEOPLE = 5


@dataclass(frozen=True)
class Greeting:
    """A salutation as it stands, the words of its name, and whether a title (Mr, Frau, Dr) stands before them."""

    line: str = ""
    words: tuple[str, ...] = ()
    is_titled: bool = False


def greeting_of(text: str) -> Greeting:
    """Return the letter's salutation; an empty one where it greets nobody by a name set apart from its sentence."""
    for line in _LINE.findall(text[:MAX_CHARACTERS])[:MAX_LINES]:
        line = " ".join(line.replace("*", "").split()).lstrip("_#> ")
        salutation = _SALUTATION.match(folded(line))
        if salutation is None or len(folded(line)) != len(line):
            continue
        rest = _DOTTED_TITLE.sub(_without_dot, line[salutation.end() :])
        end = _END_OF_NAME.search(rest)
        words = _WORD.findall(rest[: end.start()] if end else rest)
        named = [word for word in words if folded(word) not in TITLES]
        is_titled = len(named) < len(words)
        named = [word for word in named if word not in PARTICLES]
        if not 1 <= len(named) <= 3 or not all(word[0].isupper() for word in named):
            return Greeting()
        return Greeting(line[:80], tuple(named), is_titled)
    return Greeting()


def _without_dot(match: re.Match[str]) -> str:
    return match.group(1) + (" " if folded(match.group(1)) in TITLES else ".")


def greets_another(content: Content, shown: ShownLetter) -> Iterator[Finding]:
    """A greeting by name to people none of whom can have that name."""
    greeting = greeting_of(shown.plain)
    greeted = [folded(CYRILLIC.get(word.lower(), word)) for word in greeting.words]
    people = [address for address in content.to if "@" in address]
    if not people or len(everybody(content)) > MAX_PEOPLE or not _is_a_name(greeting, greeted):
        return
    if any(_may_be(address, greeting, greeted) for address in (*content.to, *content.cc, *content.bcc)):
        return
    whom = ", ".join(one_word(bare_address(one)) for one in people)
    sentence = "The message greets somebody else than it goes to."
    evidence = (greeting.line, *map(bare_address, people))
    yield finding("greeting_differs", sentence, f"{quoted(greeting.line)} goes to {whom}.", evidence, anchor=SHEET)


def _is_a_name(greeting: Greeting, greeted: list[str]) -> bool:
    if not greeted or not NOT_NAMES.isdisjoint(greeted):
        return False
    return greeting.is_titled or greeted[0] in GIVEN_NAMES


def _may_be(address: str, greeting: Greeting, greeted: list[str]) -> bool:
    """Whether the person at this address may have this name, for all that the address and its name tell."""
    bare = bare_address(address)
    words = [*_words(shown_name(address)), *_words(bare.rpartition("@")[0])]
    domain = set(re.split(r"[.-]", domain_of(bare)))
    spelled = [spelling for word in greeting.words for spelling in spellings(word)] + greeted
    if not ROLES.isdisjoint(words) or not domain.isdisjoint(spelled):
        return True
    if any(is_one_name(one, other) for one in spelled for other in words):
        return True
    is_told = not GIVEN_NAMES.isdisjoint(words)
    if greeting.is_titled and len(greeted) == 1:
        # After a title comes the family name: it takes an address that tells one.
        is_told = is_told and any(len(word) > 2 and word not in GIVEN_NAMES for word in words)
    return not is_told


def is_one_name(one: str, other: str) -> bool:
    """Whether two words may be one name: short forms, other spellings, an initial, a name inside a user name."""
    short, long = sorted((one, other), key=len)
    if len(short) == 1:
        return long.startswith(short)
    if short in long and (len(short) > 3 or (len(short) > 2 and long.startswith(short))):
        return True
    return is_one_slip_apart(one, other) or any(one in group and other in group for group in KIN)


def spellings(word: str) -> tuple[str, ...]:
    """Return how a name may stand in an address: Müller as muller and mueller."""
    spread = word.lower()
    for letter, letters in _TWO_LETTERS:
        spread = spread.replace(letter, letters)
    return tuple(dict.fromkeys((folded(word), folded(spread))))


def _words(text: str) -> list[str]:
    """Return the words of a name or of the part before the @: without numbers, and whatever follows a plus."""
    found: Iterable[str] = re.findall(r"[^\W\d_]+", text.partition("+")[0][:100])
    return [folded(word) for word in found][:6]


@lru_cache(maxsize=4096)
def folded(text: str) -> str:
    """Return `text` in lower case and without accents, one character for one where that is possible."""
    return "".join(_plain(character) for character in text)


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    lower = _LETTER.get(character.lower(), character.lower())
    base = [c for c in unicodedata.normalize("NFD", lower) if not unicodedata.combining(c)]
    return base[0] if base else lower
