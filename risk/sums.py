"""Reads the sums of money in a message, for rules such as "names an amount of at least
1000", and reports passages in which a sum could not be read. Pure, and in linear time.

Senders may hide a sum from the rules, so reading is strict: if a number can be read in
several ways, the largest counts (1.200 is one thousand two hundred); and a number near
money that cannot be read for certain makes the sum unknown.

How it works: `fold` brings a text into one form, `_tokens` cuts it into items
(numbers, money, words, links), `_merged` joins names of several words, `_classified`
says what each item is worth, and `_Reading` pairs numbers with money, looks for
doubtful items nearby, and counts numbers whose currency is named further away.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from common.fingerprint import Content
from common.words import MAX_TEXT, normalized
from rendering import ParsedContent
from rendering.invisibles import stripped
from risk.money import (
    AMOUNTS,
    BEFORE_UNITS,
    CLOCK,
    CODES,
    COUNTS_HOURS,
    DIGITS,
    LARGEST,
    MINOR,
    MONTHS,
    NATIONS,
    ONE,
    PAYING,
    PRECIOUS,
    PRODUCTS,
    PRODUCTS_BESIDE,
    REFERENCES,
    THOUSANDS,
    UNITS,
    UNSURE_ZEROS,
    ZEROS,
    ZEROS_BESIDE,
    by_looks,
    currency_of,
    folded,
    is_number_word,
    may_begin,
    named_by,
    passes_for_digits,
    pieces_of,
    sign_before,
    value_of,
)
from simple_form.html_reading import decode

# How many characters of a folded text are read. If it is longer, its sum is unknown.
MOST_READ = 90_000
# Links are shortened to this many characters first, so they fill little of that, and
# their last ones: a number there may belong to money behind it.
_MOST_ADDRESS = 40
_MOST_END = 10
# A number is near money within this many items: if the money has a number next to it,
# and if it has none.
_NEAR = 3
_NEAR_WITHOUT = 6
# How many unread passages are kept, and how many characters of each.
MOST_UNREAD = 3
_MOST_PASSAGE = 60


@dataclass(frozen=True)
class Sums:
    """The sums that texts name, as decimal texts: all of them in order (`named`), and
    the largest by currency code. The empty code stands for sums whose currency is not
    certain, such as "$5".

    `unread` are passages with a number near money that could not be read for certain.
    If there is one, rules must take the sum as unknown.
    """

    named: tuple[str, ...] = ()
    largest: Mapping[str, str] = field(default_factory=dict)
    # By currency code, the passage that names the largest.
    passages: Mapping[str, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


def sums_of(content: Content, parsed: ParsedContent) -> Sums:
    """Return the sums that a message names in its subject, its text (as written and as
    shown) and its HTML, and in the names of people and of files.

    Of a message that may be seen differently, and of one that is only shown
    as its source, count as unread.
    """
    as_text = parsed.shown if content.html is None else parsed.text_part
    people = (content.reply_to or "", *content.recipients)
    text = as_text.plain if as_text else ""
    sums = read_sums(
        (
            # Subject and text are read together: "Transfer in EUR", "Pay 5000".
            f"{content.subject}\n\n{content.markdown or text}",
            parsed.template,
            text,
            content.sender_name,
            *(one.rpartition("<")[0] for one in people),
            *(one.name for one in content.attachments),
        )
    )
    # Of a message that may be seen differently nobody knows which numbers are seen.
    passages = [
        one.passage or one.how for each in parsed.renderings for one in each.differences
    ]
    passages += ["" for one in parsed.renderings if one.doubt]
    unread = (*sums.unread, *(_short(one) for one in passages))
    return replace(sums, unread=unread[:MOST_UNREAD])


def read_sums(texts: Iterable[str]) -> Sums:
    """Return the sums that these texts name, each text by itself. What comes after
    MOST_READ characters of all of them is unread.
    """
    named: list[str] = []
    unread: list[str] = []
    largest: dict[str, Decimal] = {}
    passages: dict[str, str] = {}
    readings = []
    rest = MOST_READ
    for text in dict.fromkeys(map(decode, texts)):
        folded_text = fold(text[:MAX_TEXT])
        readings.append(_Reading(folded_text[:rest]))
        if _RIGHT_TO_LEFT in text:
            # The text after this character is shown backwards.
            unread.append(_short(text.partition(_RIGHT_TO_LEFT)[2][:_MOST_PASSAGE]))
        if len(text) > MAX_TEXT or len(folded_text) > rest:
            unread.append(_short(folded_text[rest : rest + _MOST_PASSAGE]))
        rest = max(rest - len(folded_text), 0)
    currencies = set[str]().union(*(one.currencies for one in readings))
    for reading in readings:
        reading.lend(currencies)
        unread += reading.unread
        for currency, value in reading.sums:
            named.append(f"{value.normalize():f}")
            if value >= largest.get(currency, Decimal(0)):
                largest[currency] = value
                passages[currency] = reading.passages[currency, value]
    by_code = {one: f"{value:f}" for one, value in sorted(largest.items())}
    return Sums(
        tuple(named), by_code, passages, tuple(dict.fromkeys(unread))[:MOST_UNREAD]
    )


def _short(passage: str) -> str:
    return " ".join(stripped(passage).split())[:_MOST_PASSAGE]


# Characters that Unicode names after money, and what some of them are read as.
_NAMED_AS_MONEY = re.compile(r"\b(DOLLAR|EURO|POUND|YEN|CURRENCY|MONEY|COIN)\b")
_READ_AS = {"DOLLAR": "$", "EURO": "€", "POUND": "£", "YEN": "¥"}
# Letters in squares, and those that make flags.
_LETTER_SIGN = re.compile(r"(?:.* )?LETTER ([A-Z])")
# Signs that stand beside numbers and pass for no digit, and those that pass for a zero.
_NO_DIGIT = re.compile("ARROW|BOX DRAWINGS")
_ROUND = re.compile(
    r"\b(CIRCLED?|RING|ELLIPSE|EMPTY SET|SQUARED?|BULLET|FISHEYE|BULLSEYE|SUN|MOON|BALL)\b"
)


class _Plain(dict[int, str]):
    """A table for `str.translate`: by character, what it is read as. A digit of any
    script becomes 0 to 9, another numeral (such as "½") gets the mark \\x01 before it,
    and other characters get their usual form. Entries are made when they are first
    needed.
    """

    def __missing__(self, code: int) -> str:
        character = chr(code)
        usual = unicodedata.normalize("NFKC", character)
        category = unicodedata.category(character)
        name = unicodedata.name(character, "")
        # Of marks, those of Indic and Thai vowels are kept.
        accent = unicodedata.combining(character)
        if character in "*~`\\\u20e3" or 9 < accent < 36 or accent > 199:
            # Signs of Markdown, which may be within a number, keys, and accents.
            usual = ""
        elif character.isdecimal():
            usual = str(unicodedata.decimal(character))
        elif category == "Sc" or 0x20A0 <= code < 0x20D0:
            usual = usual if len(usual) == 1 else "¤"
        elif category == "So" and (money := _NAMED_AS_MONEY.search(name)):
            usual = _READ_AS.get(money[1], "¤")
        elif category == "So" and (letter := _LETTER_SIGN.fullmatch(name)):
            usual = letter[1]
        elif (
            character not in ZEROS and unicodedata.numeric(character, None) is not None
        ):
            usual = f"\x01{character}"
        elif usual == character or category == "Sk":
            is_sign = category == "So" and code > 0xFF and not _NO_DIGIT.search(name)
            is_round = category in ("So", "Sm", "Sk") and _ROUND.search(name)
            if is_round:
                usual = f"\x01{character}"
            elif is_sign or category in ("Co", "Mc", "Me", "Mn"):
                usual = f"\x02{character}"
        self[code] = usual
        return usual


_PLAIN = _Plain()
# Signs with a mark may pass for digits directly after a digit ("5○"), and three round
# ones also after a separator ("5,○○○"). Elsewhere they begin list items and end lines.
_NO_DIGITS = re.compile(
    r"(?<![0-9])(?!(?:(?<=[0-9][ .,'’])|(?<=[0-9][.,'’] ))(?:\x01\W){3})[\x01\x02](?=\W)"
)
_PASSES_FOR_ZERO = re.compile(r"(?<=[0-9])(?=°°|。。|••|॰|\(\)|\[\]|\{\})")
_BLANKS = re.compile(r"\s+")
# A star within a line is a sign of multiplication; at its start it begins a list item.
_STAR = re.compile(r"(?<=\S) \* (?=\S)")
_PARAGRAPH = "\n\n"
_RIGHT_TO_LEFT = "\u202e"
_URL_SIGNS = "[^\\s<>\"'()\\[\\]]"
_ADDRESS = re.compile(
    rf"((?:https?://|www\.){_URL_SIGNS}{{1,{_MOST_ADDRESS}}}+)({_URL_SIGNS}++)",
    re.IGNORECASE,
)


def fold(text: str) -> str:
    """Return a text in the one form that is read: links shortened, digits as 0 to 9,
    one blank for every gap, paragraphs kept.
    """
    written = _ADDRESS.sub(
        lambda one: one[1] + one[2][-_MOST_END:], normalized("NFC", stripped(text))
    )
    written = _STAR.sub(" × ", written)
    written = _BLANKS.sub(
        lambda one: _PARAGRAPH if one[0].count("\n") > 1 else " ",
        written.translate(_PLAIN),
    )
    written = _NO_DIGITS.sub("", written).replace("\x02", "\x01")
    return _PASSES_FOR_ZERO.sub("\x01", written)


# A date or a time.
_DATE = (
    r"(?<![0-9])(?:(?:19|20)[0-9]{2}(?P<a>[-/])[0-9]{1,2}(?P=a)[0-9]{1,2}"
    r"|[0-9]{1,2}(?P<b>[-/.])[0-9]{1,2}(?P=b)(?:[0-9]{4}|[0-9]{2})"
    r"|[0-9]{1,2}/(?:(?:19|20)[0-9]{2}|[0-9]{1,2})|[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?)(?![0-9])"
)
_IS_DATE = re.compile(_DATE)
# Digits with separators between them, which before three digits may be blanks.
_SEPARATOR = "[.,'’‘٬٫·_]"
_DIGITS = rf"[0-9]++(?:{_SEPARATOR}[0-9]++|(?: {_SEPARATOR}? ?|{_SEPARATOR} )[0-9]{{3}}(?![0-9]))*+"
# Vowel signs that follow a letter.
_MARKS = "".join(
    chr(code)
    for code in range(0x300, 0x3100)
    if unicodedata.category(chr(code))[0] == "M"
)
WORD = re.compile(rf"[^\W\d_](?:[^\W\d_]|[{_MARKS}])*+")
# The names of its groups are kinds of items.
_TOKEN = re.compile(
    rf"(?P<url>(?:https?://|www\.){_URL_SIGNS}++)|(?P<number>\x01.|{_DATE}|{_DIGITS})|(?P<word>{WORD.pattern})"
    r"|(?P<money>[^\w\s])",
    re.IGNORECASE | re.DOTALL,
)
_NUMBER = "number"
_MONEY = "money"
_ZEROS = "zeros"
_WORD = "word"
_URL = "url"
# What names of money consist of.
_NAMING = (_WORD, _MONEY)


@dataclass(slots=True, eq=False)
class _Item:
    """One piece of a text: a number, money (a name, code or sign of a currency), a word
    for zeros ("million"), a link, or another word. `gap` is the text between the item
    and the one before it.

    `value` is that of a number, None if it cannot be read; and the largest sum of money,
    None if it has none. `sums` are its values by
    code of the currencies next to it. `zeros` is how many zeros a word adds; money such
    as "kEUR" has them too. `code` is that of money, empty if it is not certain.
    """

    kind: str
    text: str
    gap: str
    start: int
    end: int
    value: Decimal | None = None
    code: str = ""
    zeros: int = 0
    sums: dict[str, Decimal] = field(default_factory=dict)
    # How many sentences of the text come before it.
    sentence: int = 0
    before: "_Item" = field(init=False)
    after: "_Item" = field(init=False)


# The neighbour of the first and of the last item.
_NOTHING = _Item("", "", "", 0, 0)
_NOTHING.before = _NOTHING.after = _NOTHING


def _linked(items: list[_Item]) -> list[_Item]:
    """Set the neighbours (`before`, `after`) of each item, and return the items."""
    around = [_NOTHING, *items, _NOTHING]
    for before, item, after in zip(around, items, around[2:], strict=False):
        item.before = before
        item.after = after
    return items


def _tokens(text: str) -> list[_Item]:
    """Cut a folded text into items: numbers, signs of money, links, and words."""
    items: list[_Item] = []
    after = 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup or ""
        found = token.group()
        if kind == _MONEY and unicodedata.category(found) not in ("Sc", "Cn"):
            continue
        gap = text[after : token.start()]
        after = token.start()
        for piece in pieces_of(found):
            start = after
            after += len(piece)
            items.append(_Item(kind, piece, gap, start, after))
            gap = ""
        if kind == _MONEY:
            items[-1].code = named_by(found) or ""
    return items


# Gaps within a name of money, and what is between its words in the table of names.
_GAPS = dict.fromkeys(("", ".", "'", "’", "|", '"', "״"), "")
_GAPS |= dict.fromkeys((" ", ". ", "-", " & "), " ")
_MOST_WORDS = 8


def _merged(items: Sequence[_Item]) -> list[_Item]:
    """Join items that together are one name of money: "US$", "E U R", "Swiss francs",
    "U.S. dollars", "d0llars".
    """
    merged: list[_Item] = []
    at = 0
    while at < len(items):
        found = first = items[at]
        start = at
        at += 1
        letters = first.text
        name = folded(letters)
        for end in range(at, min(start + _MOST_WORDS, len(items))):
            item = items[end]
            is_inside = item.gap in _GAPS if item.kind in _NAMING else not item.gap
            if first.kind not in _NAMING or not is_inside:
                break
            letters += item.text
            name += _GAPS[item.gap] + folded(item.text)
            code = named_by(name)
            is_spelled = letters.isupper() or len(letters) == end + 1 - start
            if code is None and is_spelled and len(letters) > 2:
                code = _code(letters.upper()) or named_by(folded(letters))
            if code is None and item.kind == _WORD and not letters.isalpha():
                code = by_looks(letters)
            if code is not None:
                found = _Item(_MONEY, letters, first.gap, first.start, item.end)
                found.code = code
                at = end + 1
            # Few names begin so, which saves most of the time.
            if not may_begin(name, letters):
                break
        merged.append(found)
    return merged


def _classified(items: list[_Item]) -> list[_Item]:
    """Set for each word whether it is money or adds zeros, and for each number its
    value, including the zeros after it. Words for zeros are left out.
    """
    for item in _linked(items):
        if item.kind == _NUMBER:
            item.value = value_of(item.text)
        elif item.kind == _WORD:
            _classify_word(item)
    for item in items:
        # "5OOO", "x5", "5000ff": digits directly next to letters cannot be read.
        kinds = {item.before.kind, item.kind}
        if not item.gap and kinds in ({_NUMBER, _WORD}, {_NUMBER}):
            item.before.value = item.value = None
    kept: list[_Item] = []
    for item in items:
        last = kept[-1] if kept else _NOTHING
        if item.kind == _ZEROS and last.kind == _NUMBER:
            if last.value is not None:
                last.value = min(last.value.scaleb(item.zeros), LARGEST)
            last.zeros = item.zeros
            last.end = item.end
        else:
            kept.append(item)
    return kept


# Letters before a code or name of money.
_THOUSANDS = tuple("kKTtMme")


def _classify_word(item: _Item) -> None:
    """Make a word an item of zeros or of money, if it is one. It may also change the
    money after it.
    """
    word = item.text
    key = folded(word)
    before = item.before
    after = item.after
    follows = before.kind in (_NUMBER, _ZEROS) and item.gap in ("", " ", "-")
    is_glued = follows and not item.gap
    leads_money = (
        follows
        and after.gap in ("", " ", ". ", "-")
        and (
            after.kind == _MONEY or currency_of(after.text, is_counted=True) is not None
        )
    )
    zeros = ZEROS.get(key)
    if leads_money and key in ("cent", "cents"):
        # French: a hundred.
        zeros = 2
    if zeros and follows and (is_glued or leads_money or key not in UNSURE_ZEROS):
        item.kind = _ZEROS
        item.zeros = zeros
        return
    if after.kind == _MONEY and not after.gap and zeros in (3, 6, 12):
        # "k€ 5"
        after.zeros = 3 if zeros == 12 else zeros
    # "(in pounds)", "5000 (lei)", and not "in all."
    is_unit = item.gap.endswith("(") or folded(before.text) in BEFORE_UNITS
    is_counted = (
        (follows and item.gap != "-")
        or (is_unit and key != "all" and not after.gap.startswith((" ", "-", "'")))
        or (item.gap in ("", " ") and is_number_word(before.text))
        or (after.kind == _NUMBER and not word.isascii())
        # "Euronen: 5000"
        or (
            after.kind == _NUMBER and len(key) > 5 and (value_of(after.text) or 0) > 999
        )
        or folded(before.text) in NATIONS
    )
    # "50p", and not "2 p.".
    code = currency_of(
        word,
        is_counted=is_counted and (key != "p" or is_glued),
        is_many=follows and (before.value is None or before.value >= 1000),
        is_glued=is_glued,
    )
    if code is None and (is_glued or (follows and len(word) == 4)):
        # "5000EURplus", "5000 EURs"
        code = _code(word[:3])
    if after.kind == _NUMBER and folded(before.text) not in REFERENCES:
        if code is None and not after.gap and word[:-3] not in _THOUSANDS:
            code = _code(word[-3:])
        sign = sign_before(after.text, word, after.gap)
        code = code if sign is None else sign
    if code is None and word[:1] in _THOUSANDS:
        # "kEUR", "5kkr"
        code = currency_of(word[1:]) if follows else _code(word[1:])
        item.zeros = 0 if code is None else 6 if word[0] in "Mm" else 3
    if not code and key.startswith(("kilo", "mega")):
        # "kiloeuro"
        after_prefix = currency_of(word[4:], is_counted=is_counted)
        if after_prefix is not None:
            code = after_prefix
            item.zeros = 3 if key[0] == "k" else 6
    if code is not None:
        item.kind = _MONEY
        item.code = code
        if key in THOUSANDS:
            item.zeros = 3
        elif key in MINOR and follows:
            item.zeros = -2


def _code(letters: str) -> str | None:
    return letters if letters in CODES else None


# "5000,-": a sum without the name of a currency.
_DASHED = re.compile(r"[.,:][-–—]{1,2}(?![-–—\w)])|/[-=](?![-=\w)])")
# Sums are written so where their currency is named elsewhere ("5.000", "300.00"), and
# no telephone numbers.
_AMOUNT = re.compile(
    r"(?!0[0-9])(?:[0-9]{1,3}(?:[.,' ][0-9]{3})+(?:[.,][0-9]{2})?|[0-9]+[.,][0-9]{2})"
)
# "5,000.00": hardly anything but money is written so.
_GROUPED = re.compile(r"[0-9]{1,3}(?:[.,' ][0-9]{3})+[.,][0-9]{2}")
# A gap with one of these separates a number from money, so they are no sum together.
_APART = re.compile(r"\n\n|[.!?;:,…] | [-–—−‒] |[()\[\]{}@|#•×⋅∙✕✖]")
# Ends a sentence: the search near money stops here.
_STOP = re.compile(r"\n\n|[!?;…] ")
# Two numbers with such a gap may be one number.
_ONE_NUMBER = re.compile(r"[ .,'’]+")
_TIMES_SIGN = re.compile(r"[×⋅∙✕✖]| @ ")
# Ends a sentence, when sentences are counted.
_SENTENCE = re.compile(r"\n\n|[.!?…] ")
# The second half of a number that is divided into two cells of a table, or by signs.
_SPLIT = re.compile(r"[\s|]++[0-9]{3}(?![0-9])|[^\s0-9]++[0-9]")
_ROMAN = re.compile(r"[MDCLXVI]{2,}")
# Gaps between a number and the word that explains it, as in "Invoice: 22".
_BESIDE_WORD = frozenset(("", ".", ":", "-", ".:", "°"))


class _Reading:
    """Reads one folded text. Afterwards `sums` has (currency code, value) of each sum,
    `currencies` the codes that it names, and `unread` the passages in which a sum could
    not be read.
    """

    def __init__(self, folded_text: str) -> None:
        self._text = folded_text
        items = []
        for item in _linked(_classified(_merged(_tokens(folded_text)))):
            items.append(item)
            beside = (item.before.kind, item.after.kind)
            if _MONEY not in beside and self._is_sum_alone(item):
                items.append(_Item(_MONEY, "", "", item.end, item.end))
        items = _linked(items)
        self.unread: list[str] = []
        # By currency and value, the passage that was read last.
        self.passages: dict[tuple[str, Decimal], str] = {}
        sentence = 0
        for item in items:
            sentence += bool(_SENTENCE.search(item.gap))
            item.sentence = sentence
        money = {item: _numbers_of(item) for item in items if item.kind == _MONEY}
        for item in items:
            # "ten lakhs"
            if ZEROS.get(folded(item.text)) in (5, 7) and is_number_word(
                item.before.text
            ):
                self._note(item.before, item)
        for named, numbers in money.items():
            if (
                named.code in PRECIOUS
                and not numbers
                and folded(named.before.text) in ONE
            ):
                self._note(named.before, named)
            for number in numbers:
                if number.value is None or named.code in PRECIOUS:
                    self._note(number, named)
                    continue
                value = min(number.value.scaleb(named.zeros), LARGEST)
                number.sums[named.code] = max(value, number.sums.get(named.code, value))
                begin, end = min(number.start, named.start), max(number.end, named.end)
                self.passages[named.code, value] = _short(folded_text[begin:end])
        # A number counts in each currency next to it. An uncertain currency (empty
        # code) counts only if the number has no other.
        self.sums = [
            (code, value)
            for item in items
            for code, value in item.sums.items()
            if code or len(item.sums) == 1
        ]
        # The sentences with a number that may say how often a sum is to be paid.
        self._counting: set[int] = set()
        for item in items:
            counts = item.kind == _WORD and is_number_word(item.text)
            if item.kind == _NUMBER and not item.sums:
                counts = not self._is_explained(item, CLOCK - COUNTS_HOURS)
            if counts:
                self._counting.add(item.sentence)
        for named, numbers in money.items():
            self._look_around(named, numbers)
        self.currencies = {one.code for one in money if one.text}
        # Money without a number of its own is that of all other numbers, as in the head of
        # a table or "amounts in EUR"; other money of those that are written as sums.
        is_bare = not all(money.values())
        self._borrowing = [
            item
            for item in items
            if item.kind == _NUMBER
            and item.value is not None
            and not item.sums
            and (is_bare or _AMOUNT.fullmatch(item.text))
            and not (item.gap.endswith("+") or self._is_explained(item))
        ]

    def lend(self, currencies: Collection[str]) -> None:
        """Count the numbers that are sums in a currency that the message names further
        away. Of several currencies none is certain.
        """
        code = "".join(currencies) if len(currencies) == 1 else ""
        for item in self._borrowing if currencies else ():
            if code in PRECIOUS:
                self._note(item, item)
            elif item.value is not None:
                self.sums.append((code, item.value))
                self.passages[code, item.value] = _short(item.text)

    def _is_sum_alone(self, item: _Item) -> bool:
        """Whether a number without money beside it is a sum: "5000,-", "5 lakh",
        "amount: 5000", "5,000.00".
        """
        if item.kind != _NUMBER:
            return False
        if _DASHED.match(self._text, item.end):
            return True
        is_named = item.gap.strip(' "') in (":", "=") and (
            folded(item.before.text) in AMOUNTS
        )
        # Not "pay 2 visits".
        is_named |= (
            item.gap == " "
            and folded(item.before.text) in PAYING
            and (item.value is None or item.value >= 100)
            # "pay 5000 Danish crowns"
            and item.after.after.kind != _MONEY
        )
        is_grouped = item.value is not None and _GROUPED.fullmatch(item.text)
        looks = is_named or is_grouped or item.zeros in (5, 7)
        return bool(looks) and not self._is_explained(item)

    def _look_around(self, money: _Item, own: Sequence[_Item]) -> None:
        """Note each item near money that may change its sum. `own` are the numbers that
        were read as sums of this money.
        """
        money.value = max(
            (sum for one in own for sum in one.sums.values()), default=None
        )
        for is_forward in (False, True):
            beside = money
            for distance in range(1, (_NEAR if own else _NEAR_WITHOUT) + 2):
                item = beside.after if is_forward else beside.before
                second = item if is_forward else beside
                if item is _NOTHING or (
                    _ends_nearness(item, second) if own else item.sums
                ):
                    break
                # Further than that, only numbers change the sum of money without one.
                if (
                    not item.sums
                    and (own or distance <= _NEAR or item.kind == _NUMBER)
                    and self._is_doubtful(item, beside, second, money, distance)
                ):
                    self._note(item, money)
                beside = item

    def _is_doubtful(
        self, item: _Item, beside: _Item, second: _Item, money: _Item, distance: int
    ) -> bool:
        """Whether an item near money may change the sum. `beside` is its neighbour on
        the side of the money, and `second` the one of these two that comes later in the
        text. `distance` is that from the money, in items.
        """
        gap = second.gap
        largest = money.value
        is_bare = largest is None
        may_be_product = item.sentence in self._counting
        if _TIMES_SIGN.search(gap) and (
            item.kind == _NUMBER or (may_be_product and not is_bare)
        ):
            return True
        if item.kind == _URL:
            is_glued = is_bare and distance == 1 and gap in ("", " ")
            return is_glued and bool(DIGITS.search(item.text))
        if item.kind in (_WORD, _ZEROS):
            key = folded(item.text)
            is_beside = bool(beside.sums) or beside.kind == _MONEY
            # Not "I'm".
            if (not is_bare or distance == 1) and item.gap not in ("'", "’"):
                # The sum may get zeros, or be paid several times.
                if key in ZEROS and (is_beside or key not in ZEROS_BESIDE):
                    return True
                is_per = key in PRODUCTS_BESIDE or item.gap.strip() == "/"
                if may_be_product and (key in PRODUCTS or (is_beside and is_per)):
                    return True
            if beside.kind == _NUMBER and passes_for_digits(item.text):
                # "5,OOO"
                return len(gap.strip(" .,'’")) == 0
            is_near = distance <= _NEAR if is_bare else is_beside
            is_number = is_number_word(item.text) or _ROMAN.fullmatch(item.text)
            return is_near and gap in ("", " ", "-") and bool(is_number)
        if item.kind != _NUMBER:
            return False
        word = folded(beside.text)
        if word == "x" or (beside.sums and _SPLIT.match(gap + second.text)):
            return True
        if _is_reference(item):
            # "invoice 5000 (in EUR)"
            return is_bare and item.sentence == money.sentence
        if self._is_explained(item):
            # "5000 days of EUR"
            return is_bare and distance > 1 and word in CLOCK | UNITS
        if beside.sums and _ONE_NUMBER.fullmatch(gap):
            return True
        return largest is None or item.value is None or item.value > largest

    def _is_explained(
        self, item: _Item, counts: frozenset[str] = CLOCK | UNITS
    ) -> bool:
        """Whether it is clear that a number is no sum: it is a date, a time, a
        percentage, a count of something (of the words in `counts`), or belongs to a
        name ("invoice 5").
        """
        before = item.before
        after = item.after
        following = self._text[item.end : item.end + 2]
        if "%" in following or "#" in item.gap or _IS_DATE.fullmatch(item.text):
            return True
        if _is_reference(item):
            return True
        is_counted = after.kind == _WORD and folded(after.text) in counts
        if is_counted and after.gap.strip() in _BESIDE_WORD:
            return True
        # Neighbours that were read as sums are not part of a date.
        for other, gap in ((before, item.gap), (after, after.gap)):
            if other.kind == _WORD and folded(other.text) in MONTHS:
                return _is_in_date(item)
            if other.kind == _NUMBER and gap == "-" and not other.sums:
                return _is_in_date(item) and _is_in_date(other)
        return False

    def _note(self, one: _Item, other: _Item) -> None:
        start = min(one.start, other.start)
        end = min(max(one.end, other.end), start + 2 * _MOST_PASSAGE)
        self.unread.append(_short(self._text[start:end]))


def _is_reference(item: _Item) -> bool:
    """Whether a number is that of something: "invoice 5", "INV-2207"."""
    before = item.before
    if before.kind != _WORD:
        return False
    if folded(before.text) in REFERENCES and item.gap.strip() in _BESIDE_WORD:
        return True
    return item.gap in ("", "-") and before.text.isupper()


def _numbers_of(money: _Item) -> list[_Item]:
    """Return the numbers directly before and after money. A number that is separated
    from the money, such as by a full stop, is returned only if there is no other.
    """
    sides = [one for one in (money.before, money.after) if one.kind == _NUMBER]
    # "on 30.11.2026 EUR 20"
    sides = [one for one in sides if not _IS_DATE.fullmatch(one.text)] or sides
    close = []
    for one in sides:
        gap = money.gap if one is money.before else one.gap.replace(": ", " ")
        if not _APART.search(gap):
            close.append(one)
    return close or sides


def _ends_nearness(item: _Item, second: _Item) -> bool:
    """Whether a sentence ends between an item and its neighbour. `second` is the one of
    the two that comes later in the text. A number directly after "!" or a line end
    still belongs to the sentence.
    """
    if ". " in second.gap and second.text[:1].isupper():
        # "Mio. EUR 5"
        return second.kind != _MONEY or folded(item.text) not in ZEROS
    is_right_behind = item.kind == _NUMBER and (
        "\n\n" not in second.gap or not second.gap.strip()
    )
    return not is_right_behind and bool(_STOP.search(second.gap))


def _is_in_date(item: _Item) -> bool:
    return item.text.isdecimal() and (
        len(item.text) < 3 or (len(item.text) == 4 and item.text[:2] in ("19", "20"))
    )
