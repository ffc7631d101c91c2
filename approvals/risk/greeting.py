"""Whom a letter greets, and the rule that compares the name with the people it goes to.

It knows the salutations of a dozen languages and some hundred given names, and says nothing where it is not sure.
"""

import re
import unicodedata
from functools import lru_cache

# Salutations as they begin a line, folded; the name follows at once or after titles.
_SALUTATION = re.compile(
    r"(?:my |meine? |mon |ma |mi )?"
    r"(?:dear(?:est)?|hello|hi|hey|hiya|good (?:morning|afternoon|evening|day)|greetings|"
    r"liebe[rs]?|hallo|guten (?:tag|morgen|abend)|sehr geehrte[rs]?|geehrte[rs]?|werte[rs]?|moin|servus|"
    r"cher|chere|bonjour|bonsoir|salut|"
    r"estimad[oa]s?|querid[oa]s?|apreciad[oa]s?|hola|buen(?:os dias|as tardes|as noches)|"
    r"caro|cara|gentile|egregi[oa]|ciao|buon(?:giorno|asera)|salve|"
    r"car[oa]|prezad[oa]s?|ola|bom dia|boa tarde|"
    r"beste|geachte|lieve|goedemorgen|goedemiddag|"
    r"hej|kara|basta|hei|kjaere|kaere|hyva|moi|"
    r"szanown[yaei]|drog[ia]|witaj|czesc|dzien dobry|"
    r"vazen[yaei]|mil[yae]|ahoj|dobry den|kedves|tisztelt|"
    r"sevgili|sayin|merhaba|draga|dragi|"
    r"уважаем(?:ый|ая|ые)|дорог(?:ой|ая|ие)|здравствуй(?:те)?|привет|шановн(?:ий|а|і))",
)
_TITLES = frozenset(
    "mr mrs ms mx miss sir madam dr prof professor doctor herr frau hr fr monsieur madame mademoiselle mme mlle "
    "senor senora senorita sr sra srta don dona signor signora signore sig dott dottore dottoressa ing mag dipl "
    "meneer mevrouw heer de pan pani panie panu panna pane uram holgyem bey hanim господин госпожа пан пані".split()
)
_LINE = re.compile(r"[^\n]{1,120}")
_WORD = re.compile(r"[^\W\d_][^\W\d_'’]{0,30}")
_END_OF_NAME = re.compile(r"[,!:;.?\n(–—|/&+]|\s-\s|\s{2,}")

# A letter says whom it greets at its beginning.
MAX_LINES, MAX_CHARACTERS = 8, 2000


def greeting_of(text: str) -> tuple[str, tuple[str, ...], bool]:
    """Return the line's salutation with its name, the words of the name, and whether a title stood before them.

    All empty where the letter greets nobody by a name that can be told apart from the sentence around it.
    """
    for line in _LINE.findall(text[:MAX_CHARACTERS])[:MAX_LINES]:
        line = " ".join(line.split()).lstrip("*_#> ")
        salutation = _SALUTATION.match(folded(line))
        if salutation is None or len(folded(line)) != len(line):
            continue
        rest = line[salutation.end() :]
        if not rest.startswith(" "):
            continue
        end = _END_OF_NAME.search(rest)
        words = _WORD.findall(rest[: end.start()] if end else rest)
        is_titled = bool(words) and folded(words[0]) in _TITLES
        while words and folded(words[0]) in _TITLES:
            words = words[1:]
        if not words or len(words) > 3 or not all(word[0].isupper() for word in words):
            return "", (), False
        return line[:80], tuple(words), is_titled
    return "", (), False


@lru_cache(maxsize=4096)
def folded(text: str) -> str:
    """Return `text` in lower case and without accents, one character for one where that is possible."""
    return "".join(_plain(character) for character in text)


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    lower = {"ø": "o", "ł": "l", "ı": "i", "đ": "d"}.get(character.lower(), character.lower())
    base = [c for c in unicodedata.normalize("NFD", lower) if not unicodedata.combining(c)]
    return base[0] if base else lower
