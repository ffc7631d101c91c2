"""The vocabulary with which `risk.sums` reads sums of money, in many languages: names,
codes and signs of currencies, words that add zeros, number words, months, and words
that show that a number is no sum. Also functions that look up a word and that value a
number. Pure.

Most names of currencies are those of Unicode's CLDR, in `currencies.txt`, which
`docs/currencies.py` makes.
"""

import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from itertools import filterfalse
from pathlib import Path

from common.tables import table_rows
from rendering.links import scripts
from risk.check_greeting import folded as without_accents
from risk.lookalikes import skeleton

# Letters of languages without spaces between words. Chinese characters and Japanese
# hiragana are words of their own unless they belong to the name of a currency, and so
# are the Korean numerals.
_ALONE = "\u3040-\u309f\u3400-\u9fff십백천만억"
_HANGUL = "\uac00-\ud7af"
_KATAKANA = "\u30a0-\u30ff"
UNSPACED = re.compile(
    f"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff{_ALONE}{_HANGUL}{_KATAKANA}]"
)
_IS_ALONE = re.compile(f"[{_ALONE}]")
# Where no name begins, and where none ends.
_NO_START = re.compile(f"(?<=[{_HANGUL}])(?<![{_ALONE}])[{_HANGUL}]")
_NO_END = re.compile(f"(?<=[{_KATAKANA}])[{_KATAKANA}]")
# How many characters of a word are compared, and how many the name of a currency has in
# these languages.
_LONGEST = 40
_LONGEST_UNSPACED = 16


@lru_cache(maxsize=8192)
def folded(word: str) -> str:
    """Return a word in the form in which it is looked up: in lower case and without
    accents. A word of a language without spaces stays as it is.
    """
    if UNSPACED.match(word):
        return word
    return "".join(filterfalse(unicodedata.combining, without_accents(word[:_LONGEST])))


def _words(text: str) -> frozenset[str]:
    return frozenset(map(folded, text.split()))


CURRENCIES = Path(__file__).with_name("currencies.txt")
# Names that CLDR lacks, in the form of that file: a line has a code, empty if its names
# may be of several currencies, and names in the form that `folded` returns. Before a
# name may be where it counts: "?" only after a number, because it is an ordinary word
# too; "~" only after one from 1000 on; "=" only beside a number, and in exactly these
# letters; "^" only before a number, likewise; "." only with points. After "!" are words
# that are no money, although a name is in them.
_MORE = """\
|$|¥|元|圆|圓|?块|?塊|?角|kr|?fr|=Fr|^Fr|rs|dol|dols|bucks|?buck|greenbacks|?smackers|?grand|?grands|crowns
|?crown|?ft|rupiya|?dh|^DH|уе|.уе|бакс|баксы|?бакса|?баксов|?баксами|soum|?livre|?livres|?kuai
|?piastre|?piastres|?peseta|pesetas|?drachma|drachmas|δραχμες|?kuna|?kunas|?kune|?markkaa|?conto|?contos
|?toman|تومان|تومن|?cfa|fcfa|=öre|=øre|!金額|!金额|!价格|!價格|!字元|!位元|!單元|!单元|!公元|!元素|!多元|ƒ|?ރ|?שח|.שח|.شج|.ام
|.جس|.جم|.دا|.دإ|.دب|.دت|.دج|.دس|.دع|.دك|.دل|.دم|.را|.رس|.رع|.رق|.ري|.لس|.لل|?رس|.som|ユアン|?satoshi
|?satoshis|?sats|?ether|?tether|?tethers|?solana|?xu|quid|?riesen|~c|~coin|~coins|~bones|~clams
|~smackeroos|~simoleons|~mause|~kroten|~flocken|~tacken|~ocken|~piepen|~lappen|~scheine|~balles|~pavos|~spann|~spenn
EUR|€|eurs|eurc|eurt|?euru|eiro|ewro|avro
GBP|£|sterling|gbpt
CHF|sfr|?stutz|?frankli
PLN|zl|zlotow
CZK|kc
RUB|руб|?р|?тр|.тр
UAH|грн
BGN|лв|?лв|?лева|?лев|?левов|?lev|?leva
KRW|₩|?원
IDR|rp
MYR|rm
TRY|tl
CNY|rmb
USD|美金|u$d|us$|usdt|usdc|busd|tusd|pyusd|fdusd|usdp|gusd|=DAI
JPY|円
CNY|?위안
TWD|台币|台幣
HKD|港币|港幣
ILS|₪|שח|?nis|^NIS
KES|ksh|kshs
TZS|tsh
UGX|ush
BDT|?tk|^Tk|^TK
KZT|тг
VES|?bs|^Bs|^BS
PHP|₱|?piso
PAB|^B/
PEN|^S/
ZAR|^R
|?rack|?racks|?tenner|?tenners|?fiver|?fivers
HUF|^Ft
EGP|^LE
KWD|?kd|^KD
AED|dhs
VND|=đ|=Đ
BTC|btc|bitcoin|bitcoins
ETH|eth
XRP|xrp
DOGE|doge
"""
_NAMES: dict[str, str] = {}
# Also of currencies that are no tender any more.
CODES = set[str]()
for _line in (CURRENCIES.read_text("utf-8") + _MORE).splitlines():
    _code, *_names = _line.split("|")
    CODES.add(_code)
    _NAMES.update(dict.fromkeys(_names, _code))
CODES.discard("")
# So much is one of these worth that a small number of them is no small sum.
PRECIOUS = frozenset(("BTC", "ETH", "XAU", "XPT", "XPD"))
# Hundredths of a currency. If it has more of them, too large a sum is read.
MINOR = _words(
    "c ct cts cent cents eurocent eurocents centime centimes céntimo céntimos cêntimo cêntimos centavo centavos "
    "centesimo centesimi centů centov cenți centų sent senti senttiä sentti penny pence pennies p "
    "rappen räppli pfennig pfennige öre øre aurar grosz grosze groszy groszów haléř haléře haléřů halier haliere "
    "halierov fillér bani stotinka stotinki стотинка стотинки lipa lipe kopeck kopecks kopek kopeks kopeken kopeika "
    "копейка копейки копеек коп копійка копійки копійок kuruş qəpik tiyin tiyn тиын тийин tetri თეთრი luma լումա "
    "agora agorot אגורה אגורות fils فلس فلسا halala halalas هللة millime millimes paisa paise paisas पैसा पैसे پیسے "
    "poisha sen kobo pesewa pesewas santim santims satang สตางค์ laari thebe ngwee toea"
)
# The first of these is an hour in Italian; of the second, few are no sum.
_NAMES |= {f"?{_one}": "" for _one in MINOR - {"ore", "c"}}
# By what they look like. Chinese characters and hiragana look like no Latin letter.
_LOOKS = {
    skeleton(name): code
    for name, code in _NAMES.items()
    if name.isascii() and name.isalpha() and len(name) > 2
}
# What names begin with: without blanks, and up to so many characters.
_BEGINNING = 5
_BEGINNINGS = {
    one.replace(" ", "").lstrip("?!.")[:size]
    for one in (*_NAMES, *map(str.lower, CODES), *_LOOKS)
    for size in range(_BEGINNING + 1)
}
_UNSPACED_NAMES = {one.lstrip("?!") for one in _NAMES if UNSPACED.search(one[:2])}
# Names of money that mean a thousand of it: "5 grand"; or fewer, as the largest counts.
THOUSANDS = _words("grand grands riesen тр rack racks tenner tenners fiver fivers")
# Before the name of something so valuable that one of it is no small sum.
ONE = _words("a an one half ein eine einen une un una uno een en")
# After one of these, an ordinary word is money: "Danish crown".
NATIONS = _words(
    "danish swedish norwegian icelandic czech slovak african brazilian korean vietnamese turkish italian swiss french "
    "belgian romanian moldovan bulgarian peruvian malaysian german cyprus irish egyptian syrian lebanese uzbek"
)
# Before the unit of a sum: "in pounds".
BEFORE_UNITS = frozenset("in en em w v в på auf".split())
# Beginnings of words that look like a currency with an ending.
_NO_ENDINGS = ("europ", "eurostar", "franc")
# Ends of words for money after a number: "petrodollars", "stablecoins".
_ENDS = ("dollar", "dollars", "euro", "euros", "coin", "coins")
# Scripts in which sums are read. A word in another one, or in two, may be a disguise.
_SCRIPTS = frozenset(
    "LATIN CYRILLIC GREEK ARMENIAN GEORGIAN HEBREW ARABIC SYRIAC THAANA ETHIOPIC DEVANAGARI BENGALI GURMUKHI GUJARATI "
    "ORIYA TAMIL TELUGU KANNADA MALAYALAM SINHALA THAI LAO TIBETAN MYANMAR KHMER MONGOLIAN CJK IDEOGRAPHIC".split()
) | {"EAST ASIAN"}


# How many zeros a word adds to the number before it. If languages differ, the larger
# number counts; but "billion" and "trillion" are read as in English, because either sum
# is a very large one.
ZEROS = {
    folded(word): int(zeros)
    for zeros, words in table_rows("""
1  | 십
2  | hundred hundreds hundert hunderter 百 백
3  | k thousand thousands tausend tausender tsd thsd ths thou mil mila mille migliaia tys tysiąc tysiące
     tysięcy tis tisíc tisíce тыс тисяч тысяч bin ezer ribu rb tuhat tuhatta tusen tusind duizend nghìn
     ngàn हजार 千 仟 천
4  | 万 萬 만
5  | l lakh lakhs lac lacs लाख
6  | m mn mio mln mill mills million millions millionen millón millones milhão milhões milione milioni mm
     млн juta jt triệu
7  | crore crores cr करोड़
8  | 億 亿 억
9  | b bn bil bill mrd mld mlrd mia billion billions milliard milliards milliarde milliarden miliardi
     miliar miliard milyar tỷ млрд
12 | t tn trn trillion trillions billionen billón billones bilhão bilhões
""")
    for word in words.split()
}
# Words of ZEROS that may mean something else. They add zeros only directly after the
# digits ("5b"), or right before the money.
UNSURE_ZEROS = _words("b t l mm bin mil bil bill mill mia cr")
# Words of ZEROS that make a sum doubtful only if they are directly next to it.
ZEROS_BESIDE = UNSURE_ZEROS | _words("m k tis ths thou rb jt")
# Words which say that a sum is paid several times: anywhere near it, and only directly
# next to it.
PRODUCTS = _words(
    "x times each apiece per pcs piece pieces fois veces vezes volte keer gånger крат раз razy krát"
)
PRODUCTS_BESIDE = _words(
    "of at a an à je mal pro p von zu day daily week weekly month monthly year yearly"
)
_NUMBER_WORDS = _words(
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety dozen dozens several "
    "zero zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig "
    "zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dutzend "
    "cent cents deux trois quatre cinq sept huit neuf dix onze douze vingt trente quarante cinquante soixante "
    "dos tres cuatro cinco seis siete ocho nueve diez veinte treinta cuarenta cincuenta sesenta setenta "
    "ochenta noventa cien ciento tre quattro cinque sette otto nove dieci venti trenta quaranta cinquanta "
    "sessanta settanta ottanta novanta cento dois três quatro sete oito nove dez vinte trinta quarenta "
    "twee drie vijf zes zeven acht negen tien twintig dertig honderd duizend "
    "два две три четыре пять шесть семь восемь девять десять двадцать сто тысяча "
    "dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć dva tři čtyři pět šest sedm osm devět deset "
    "iki üç dört beş altı yedi sekiz dokuz két három négy öt hét nyolc kilenc tíz kétezer háromezer ötezer tízezer "
    "kaksi kolme neljä viisi kuusi seitsemän kahdeksan yhdeksän kymmenen fem"
) | {one for one in ZEROS if len(one) > 4 or UNSPACED.match(one)}
# None has fewer than three letters.
_PARTS_OF_NUMBER_WORDS = _words(
    "hundert tausend million milliard hundred thous honderd duizend cientos tusen tusind тысяч миллион миллиард "
    "tisic tuhat emila omila cimila timila พัน หมื่น แสน ล้าน"
)
# Letters that look like digits, as in "lOO".
_PASSES_FOR_DIGIT = frozenset("oil")


def pieces_of(word: str) -> Iterator[str]:
    """Cut a run of letters where a language without spaces names a currency, and around
    each character that is a word of its own.
    """
    if not UNSPACED.search(word):
        yield word
        return
    start = at = 0
    while at < len(word):
        size = int(_IS_ALONE.match(word, at) is not None)
        if word[at] in _BEGINNINGS and not _NO_START.match(word, at):
            size = _size_of_name(word, at) or size
        if not size:
            at += 1
            continue
        if start < at:
            yield word[start:at]
        yield word[at : at + size]
        start = at = at + size
    if start < at:
        yield word[start:]


# Returns the length of the longest name of a currency that begins here, 0 if there is
# none.
def _size_of_name(word: str, at: int) -> int:
    for end in range(min(at + _LONGEST_UNSPACED, len(word)), at, -1):
        if word[at:end] in _UNSPACED_NAMES and not _NO_END.match(word, end):
            return end - at
    return 0


def named_by(name: str) -> str | None:
    """Return the code of the currency with this name of several words or signs, in the
    form that `folded` returns; empty if it may be several, None if there is none.
    """
    return _NAMES.get(name, _NAMES.get(f".{name}"))


def may_begin(name: str, letters: str) -> bool:
    """Whether a longer name may begin so: with `name`, which is `letters` in the form
    that `named_by` takes, or with letters that only look so.
    """
    return name.replace(" ", "")[:_BEGINNING] in _BEGINNINGS or (
        # The last letter may look like half of another one, as in "rn".
        not _IS_ALONE.match(letters)
        and skeleton(letters[:_BEGINNING])[:-1] in _BEGINNINGS
    )


@lru_cache(maxsize=8192)
def currency_of(
    word: str,
    *,
    is_counted: bool = False,
    is_many: bool = False,
    is_glued: bool = False,
) -> str | None:
    """Return the code of the currency that a word names, empty if it may be several;
    None if the word is no money. `is_counted`: it belongs to a number; `is_many`: to
    one from 1000 on; `is_glued`: without a blank between.
    """
    if word in CODES:
        return word
    key = folded(word)
    code = _NAMES.get(key)
    if code is None and is_counted:
        sign = _NAMES.get(f"={word}") if len(word.encode()) > 1 else None
        code = _NAMES.get(f"?{key}", sign)
        # "forintot", "eurolla"
        for size in range(max(len(key) - 3, 4), len(key)):
            if code is None and not key.startswith(_NO_ENDINGS):
                code = _NAMES.get(key[:size])
        if code is None and len(key) > 6 and key.endswith(_ENDS):
            code = ""
    if code is None and is_many:
        code = _NAMES.get(f"~{key}")
    if code is None and (not key.isascii() or (is_counted and len(key) > 4)):
        code = by_looks(word)
    # Glued to a number, letters of another script may pass for digits.
    is_apart = is_counted and not is_glued and not passes_for_digits(word)
    if code is None and is_apart and not key.isascii() and len(key) > 2:
        found = scripts(word) - {"GREEK"}
        if len(found) > 1 or not found <= _SCRIPTS:
            code = ""
    return code


def by_looks(word: str) -> str | None:
    """Return the code of the currency whose name looks like this word; empty if it may
    be several, None if there is none.
    """
    return None if _IS_ALONE.match(word) else _LOOKS.get(skeleton(word[:_LONGEST]))


def sign_before(number: str, word: str, gap: str) -> str | None:
    """Return the code of the currency whose sign a word before a number is, such as "R"
    and "K"; None if there is none. `gap` is the text between them.
    """
    code = _NAMES.get(f"^{word}{gap.strip(' .')}")
    # "K5000", and not "K8".
    if code is None and not gap.strip(" .") and (value_of(number) or 0) >= 1000:
        code = _NAMES.get(f"={word}")
    return code


def is_number_word(word: str) -> bool:
    """Whether a word is a number in words, or letters that look like digits."""
    key = folded(word)
    return key in _NUMBER_WORDS or (
        len(key) > 2
        and (
            any(part in key for part in _PARTS_OF_NUMBER_WORDS)
            or _PASSES_FOR_DIGIT.issuperset(key)
        )
    )


def passes_for_digits(word: str) -> bool:
    """Whether a word after a number looks like digits: in any script, or because it is
    one letter of another script several times.
    """
    looks = skeleton(word[:_LONGEST])
    is_one_letter = not looks.isascii() and len(set(looks)) == 1
    return len(looks) > 2 and (is_one_letter or _PASSES_FOR_DIGIT.issuperset(looks))


MONTH_NAMES = (
    "january february march april may june july august september october november december "
    "januar februar märz mai juni juli oktober dezember "
    "janvier février mars avril juin juillet août septembre octobre novembre décembre "
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre "
    "jan feb mar apr jun jul aug sep sept oct nov dec okt dez"
).split()
MONTHS = frozenset(map(folded, MONTH_NAMES))
# Words beside a time of day.
CLOCK = _words("am pm uhr h utc gmt cet cest heures ore")
# Those of CLOCK that can also count hours.
COUNTS_HOURS = _words("h heures ore")
# After a number: words which say that it counts something else than money.
UNITS = _words(
    "% percent prozent pourcent procent st nd rd th second seconds sekunden minute minutes min minuten hour "
    "hours hr hrs stunde stunden std day days tag tage tagen jour jours dia dias giorni dagen working business "
    "week weeks woche wochen semaine semaines semana semanas month months monat monate monaten mois mes meses "
    "year years jahr jahre jahren ans año años people persons personen users seats items pieces stück pcs kb "
    "file files mb gb tb ms km cm kg px g gr gram grams gramm gramos grammes ml l kwh"
)
# Before a number: words which say that it is the number of something ("invoice 5").
REFERENCES = _words(
    "order orders invoice invoices receipt receipts ticket tickets case ref reference no nr num number numbers "
    "id customer account contract booking page step item line room flight version chapter section article "
    "clause policy po bestellung bestellnummer auftrag auftragsnummer rechnung rechnungsnummer nummer kunde "
    "kundennummer vertrag seite commande facture numéro pedido factura número ordine fattura ordre zamówienie "
    "code article artikel sku ean isbn zip plz hrb batch lot model serial port suite"
)
# Before a number and a colon: words which say that it is a sum.
AMOUNTS = _words(
    "amount price fee betrag preis summe montant prix importe precio importo prezzo valor preço bedrag prijs kwota "
    "cena belopp beløb částka tutar сумма сума цена 金额 金額 价格 금액 राशि المبلغ "
    "total subtotal due balance gesamt gesamtbetrag gesamtsumme saldo totaal totale razem celkem toplam итого "
    "合計 合计"
)
# Before a sum without a name: "please pay 5000".
PAYING = _words(
    "pay paid transfer wire refund zahle zahlen zahlt überweise überweisen payer payez pagar pague pagare betalen"
)

# Larger sums count as this one.
LARGEST = Decimal(10) ** 15
DIGITS = re.compile(r"[0-9]+")
# Separators that are equal to another one, and blanks around them.
_SAME = str.maketrans("’‘٬·٫", "'''.,")
_AROUND = re.compile(r" ?([.,'_]) ?")
# Groups of digits by thousands (1,000,000) or as in India (10,00,000), and cents after
# another separator.
_WRITTEN = re.compile(
    r"((?!0[0-9])[0-9]++|[0-9]++([.,])[0-9]{3}|[0-9]{1,3}([ .,'_])[0-9]{3}(?:\3[0-9]{3})*+"
    r"|[0-9]{1,2}(?:(,)[0-9]{2}(?=,))++,[0-9]{3})(?:(?!\2|\3|\4)[.,]([0-9]{1,2}))?"
)


def value_of(written: str) -> Decimal | None:
    """Return the largest value that a written number can have: "1.200" is 1200. None if
    its separators are not valid in any language, or it has a sign such as ½.
    """
    number = _WRITTEN.fullmatch(_AROUND.sub(r"\1", written.translate(_SAME)))
    if number is None:
        return None
    whole = "".join(DIGITS.findall(number[1]))
    return min(Decimal(".".join(filter(None, (whole, number[5])))), LARGEST)
