"""Checks whether a message greets another person than its recipients: reads the name in
the salutation, in a dozen languages, and compares it with the recipients' names and
addresses. If either may not be a name, there is no finding.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from common.fingerprint import Content
from common.tables import table_pairs
from rendering import RenderedMessage
from risk.addresses import bare_address, domain_of, everybody, shown_name
from risk.findings import SHEET, Finding, RiskContext, finding, one_word, quoted
from risk.lookalikes import is_one_slip_apart

# Salutations at the beginning of a line, as `folded` writes them. The name follows, at
# once or after titles.
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
    r"уважаем(?:ыи|ая|ые)|дорог(?:ои|ая|ие)|здравствуи(?:те)?|привет|шановн(?:ии|а|і))(?= )"
)
TITLES = frozenset(
    "mr mrs ms mx miss sir madam dr prof professor doctor herr herrn frau hr fr monsieur madame mademoiselle mme mlle "
    "senor senora senorita sr sra srta don dona signor signora signore sig dott dottore dottoressa ing mag dipl "
    "meneer mevrouw heer de pan pani panie panu panna pane uram holgyem bey hanim господин госпожа".split()
)
# Particles inside names.
PARTICLES = frozenset(
    "van von vom zu zur der den ten ter da das de del della di do dos du la le bin ibn al el".split()
)
_LINE = re.compile(r"[^\n]{1,120}")
_WORD = re.compile(r"[^\W\d_][^\W\d_'’]{0,30}")
_DOTTED_TITLE = re.compile(r"\b([^\W\d_]{1,7})\.")
_END_OF_NAME = re.compile(r"[,!:;.?\n(–—|/&+]|\s-\s")
# Letters that lose a stroke or dot in `folded`, besides accents.
_LETTER = {"ø": "o", "ł": "l", "ı": "i", "đ": "d", "ß": "s"}
# How letters are spelled in addresses with two letters of ASCII.
_TWO_LETTERS = str.maketrans(
    table_pairs("""
ä | ae
ö | oe
ü | ue
ß | ss
å | aa
ø | oe
æ | ae
""")
)

# The salutation is searched only in the first lines of a message.
MAX_LINES = 8
MAX_CHARACTERS = 2000
# A message to more people than this is not expected to greet one of them.
MAX_PEOPLE = 5


@dataclass(frozen=True)
class Greeting:
    """The line with the salutation, the words of the greeted name, and whether a title
    (Mr, Frau, Dr) is before them.
    """

    line: str = ""
    words: tuple[str, ...] = ()
    is_titled: bool = False


def greeting_of(text: str) -> Greeting:
    """Return the salutation of a message; an empty one if nobody is greeted by a name
    of one to three words.
    """
    for line in _LINE.findall(text[:MAX_CHARACTERS])[:MAX_LINES]:
        line = " ".join(line.replace("*", "").split()).lstrip("_#> ")
        salutation = _SALUTATION.match(folded(line))
        if salutation is None or len(folded(line)) != len(line):
            continue
        rest = _DOTTED_TITLE.sub(
            lambda title: title[1] + (" " if folded(title[1]) in TITLES else "."),
            line[salutation.end() :],
        )
        words = _WORD.findall(_END_OF_NAME.split(rest, maxsplit=1)[0])
        named = [word for word in words if folded(word) not in TITLES]
        is_titled = len(named) < len(words)
        named = [word for word in named if word not in PARTICLES]
        if not 1 <= len(named) <= 3 or not all(word[0].isupper() for word in named):
            return Greeting()
        return Greeting(line[:80], tuple(named), is_titled)
    return Greeting()


def greeting_differs(
    content: Content, rendered: RenderedMessage, context: RiskContext
) -> Iterator[Finding]:
    """A greeting by a name that none of the recipients can have."""
    greeting = greeting_of(rendered.plain)
    greeted = [folded(CYRILLIC.get(word.lower(), word)) for word in greeting.words]
    is_given_name = bool(greeted) and greeted[0] in GIVEN_NAMES
    if not (greeting.is_titled or is_given_name) or not NOT_NAMES.isdisjoint(greeted):
        return
    people = [address for address in content.to if "@" in address]
    if not people or len(everybody(content)) > MAX_PEOPLE:
        return
    if any(_may_be_named(one, greeting, greeted) for one in content.recipients):
        return
    whom = ", ".join(one_word(bare_address(one)) for one in people)
    yield finding(
        "greeting_differs",
        "The greeting does not match the recipient.",
        f"{quoted(greeting.line)} goes to {whom}.",
        (greeting.line, *map(bare_address, people)),
        anchor=SHEET,
    )


def _may_be_named(address: str, greeting: Greeting, greeted: list[str]) -> bool:
    """Whether the person at this address may have the greeted name, by the display name
    and the address. In doubt the answer is True.
    """
    bare = bare_address(address)
    words = [*_words(shown_name(address)), *_words(bare.rpartition("@")[0])]
    domain = set(re.split(r"[.-]", domain_of(bare)))
    spelled = [one for word in greeting.words for one in spellings(word)] + greeted
    if not ROLES.isdisjoint(words) or not domain.isdisjoint(spelled):
        return True
    if any(is_one_name(one, other) for one in spelled for other in words):
        return True
    names_somebody = not GIVEN_NAMES.isdisjoint(words)
    if greeting.is_titled and len(greeted) == 1:
        # After a title comes a family name. So only an address that seems to contain a
        # family name can contradict it.
        names_somebody = names_somebody and any(
            len(word) > 2 and word not in GIVEN_NAMES for word in words
        )
    return not names_somebody


def is_one_name(one: str, other: str) -> bool:
    """Whether two words may be the same name: as a short form, in another spelling, as
    an initial, or inside a user name.
    """
    short, long = sorted((one, other), key=len)
    if len(short) == 1:
        return long.startswith(short)
    if short in long and (
        len(short) > 3 or (len(short) > 2 and long.startswith(short))
    ):
        return True
    return is_one_slip_apart(one, other) or any(
        one in group and other in group for group in NAME_GROUPS
    )


def spellings(word: str) -> tuple[str, ...]:
    """Return how a name may be spelled in an address: Müller as muller and mueller."""
    spread = word.lower().translate(_TWO_LETTERS)
    return tuple(dict.fromkeys((folded(word), folded(spread))))


def _words(text: str) -> list[str]:
    """Return the words of a display name or of the part of an address before the @, at
    most six, without numbers and what follows a plus.
    """
    words: Iterable[str] = re.findall(r"[^\W\d_]+", text.partition("+")[0][:100])
    return [folded(word) for word in words][:6]


@lru_cache(maxsize=4096)
def folded(text: str) -> str:
    """Return `text` in lower case and without accents, one character for one where that
    is possible.
    """
    return "".join(map(_plain, text))


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    lower = _LETTER.get(character.lower(), character.lower())
    base = [
        c for c in unicodedata.normalize("NFD", lower) if not unicodedata.combining(c)
    ]
    return base[0] if base else lower


# Names that count as the same: short forms, and forms in other languages.
NAME_GROUPS = tuple(
    frozenset(group.split())
    for group in Path(__file__).with_name("names.txt").read_text("utf-8").splitlines()
)

GIVEN_NAMES = frozenset().union(
    *NAME_GROUPS,
    (
        "aaron ada adam adele adrian adriana agnes aisha alan albert alberto alice alicia alina alison allison "
        "amanda amber amelia amina amir amy ana anastasia angel angela angelo anika anita anja ann anna anne "
        "annette annika antje anwar april arjun arne arnold arthur ashley astrid aurora austin axel barry "
        "beatrice bella benedikt bernard bernd bertha bianca bjorn blanca bob boris brandon brenda brian bridget "
        "bruce bruno bryan camila camille carina carla carmen carol carolina caroline carsten cecilia celia "
        "celine chantal charlotte chiara chloe cindy claire clara clarissa claude claudia claudio clemens colin "
        "conrad cornelia craig curtis cynthia daisy dana daniela danielle daria darren dean denise dennis derek "
        "diana diego dieter dirk dominic dominik donna doris douglas duncan dylan edgar edith elaine elias elif "
        "ella elliot elsa emil emilia emily emma eric erica erik erika ernst esther ethan eun evan eveline evelyn "
        "fabian fabio farah fatima fatma felix ferdinand fernando fiona flora florence florian frances franziska "
        "frida frieda gabriel gabriela gabriele gareth gary gavin geoffrey georgia gianni gina giovanna gisela "
        "gloria gordon grace graham grant gudrun gunnar gunter gustav hamid hannes harald harold hassan hazel "
        "heather heidi heike helga helmut henrik herbert hilda holger holly horst howard hugh hugo ibrahim ida "
        "igor ilse ines inga inge ingrid irene irina iris isaac ivana jana janina jasmin jasmine jason jeff "
        "jeffrey jens jeremy jessie jill joachim jochen joel joerg jonas jonathan jordan jorg josephine josie "
        "joyce juanita judith judy julian julien juliette jun june justin justine kai kamal karim karla karolina "
        "katja katrin kay keith kelly kerstin kevin kim kirsty klara konrad kristin kristina kurt kyle laila lana "
        "lara larissa laura lauren layla lea leah leila lena leon leonie leslie lili lily linda lindsay lisbeth "
        "logan lola lorena lotte louise luca lucas lucia lucy luisa lukas luke luna lydia lynn mabel madeleine "
        "madison magdalena maike malcolm malik malte manfred manuel manuela marc marcel marcello marco marcus "
        "margot mariam mariana marianne marina mario marion marisa mark markus marlene martin martina marvin "
        "matilda maureen maurice max maximilian maya megan mehmet melanie melissa mercedes merle mia mila milan "
        "milena miles milo mina miriam mohamed mohammed mona monica monika moritz muhammad murat mustafa nadia "
        "nadine nancy naomi neil nicole nigel nils nina noah noel nora norbert norman nuria olaf oleg olga oliver "
        "omar oscar oskar otto owen pamela paola pascal patrizia paula paulina pauline penelope penny petra "
        "phoebe pia pilar priya rachel rafael raj ralf ralph ramona raphael raquel rashid raul regina reinhard "
        "renate rene rhonda rita robin rocio rodrigo roger roland rolf romain roman rosa rosalie rosario rose "
        "rosemary ross roxanne roy ruben rudolf russell ruth ryan sabine sabrina sally salma salvatore sandro "
        "sanjay santiago sara sarah scott sebastian selena selma sergio seth shane shannon sharon sheila shirley "
        "sibylle sigrid silke silvia simon simona simone sofia sonia sonja sophia sophie spencer stacy stan "
        "stanley stella stephanie stuart sven svenja svetlana sylvia sylvie tamara tanja tanya tara tatiana "
        "teresa tessa theresa thorsten tiffany tilda tina tobias todd torsten tracy travis trevor tristan udo "
        "ursula uta uwe valentin valentina valerie vanessa vera verena veronica veronika victor viktor viola "
        "virginia vivian vladimir volker wade wanda wayne wendy werner wilma winston wolfgang xavier yasmin "
        "yolanda yusuf yvonne zoe zora"
    ).split(),
)  # fmt: skip

# Cyrillic names, and how they are written in addresses.
CYRILLIC = dict(
    pair.split(":")
    for pair in (
        "анна:anna мария:maria елена:elena ольга:olga наталья:natalia татьяна:tatiana ирина:irina светлана:svetlana "
        "екатерина:katharina юлия:julia марина:marina оксана:oksana александр:alexander алексей:alexei андрей:andrei "
        "борис:boris владимир:vladimir виктор:victor дмитрий:dmitri евгений:evgeny иван:ivan игорь:igor максим:maxim "
        "михаил:mikhail николай:nikolai олег:oleg павел:pavel петр:petr роман:roman сергей:sergei юрий:yuri"
    ).split()
)

# Words after a salutation that are not names ("Dear customer").
NOT_NAMES = frozenset(
    "all team teams everyone everybody folks guys there friend friends colleague colleagues customer customers client "
    "clients partner partners user users member members reader readers subscriber guest guests sir madam sirs valued "
    "hiring manager support sales service both ladies gentlemen applicant candidate student students parent parents "
    "neighbour neighbours neighbor neighbors again world "
    "damen herren kollegen kolleginnen kunde kundin kunden kundinnen zusammen leute freunde team mitglied mitglieder "
    "nutzer nutzerin interessent "
    "tous toutes client cliente clients equipe collegues amis madame monsieur "
    "todos todas equipo cliente clientes amigo amigos amiga colegas senores "
    "tutti tutte cliente clienti colleghi amici signori "
    "allen allemaal klant klanten collega collegas team iedereen "
    "alla alle teamet kund kunder panstwo wszyscy klient kliencie klienci equipa coleg colegi".split()
)

# Names of shared mailboxes, such as info@ and sales@, which belong to no single person.
ROLES = frozenset(
    "info sales office support contact billing hello hi team admin hr jobs career careers noreply reply no post mail "
    "email accounts account accounting finance invoice invoices orders order help helpdesk service services press "
    "media marketing legal security privacy abuse webmaster postmaster news newsletter shop store reception booking "
    "bookings reservations enquiries inquiries feedback partners people everyone all kontakt buchhaltung rechnung "
    "rechnungen bestellung bewerbung buero verwaltung service vertrieb contacto ventas facturas contabilidad compras "
    "contatto amministrazione fatture vendite ordini comptabilite facture factures commande commandes direction "
    "verkoop facturen administratie the my our group".split()
)
