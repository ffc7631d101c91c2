"""The vocabulary with which `risk.sums` reads sums of money, in many languages: names,
codes and signs of currencies, words that add zeros, number words, months, and words
that show that a number is no sum. Also functions that look up a word and that value a
number. Pure.
"""

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

from risk.check_greeting import folded as without_accents
from risk.lookalikes import has_mixed_scripts, passes_for_latin, skeleton

# Chinese, Japanese and Korean characters, each of which is a word.
CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_FIRST_CJK = "\u3040"
# How many characters of a word are compared.
_LONGEST = 40


@lru_cache(maxsize=8192)
def folded(word: str) -> str:
    """Return a word in the form in which it is looked up: in lower case, without
    accents and vowel signs.
    """
    if word >= _FIRST_CJK:
        return word[:_LONGEST]
    return "".join(
        one
        for one in without_accents(word[:_LONGEST])
        if unicodedata.category(one)[0] != "M"
    )


def _words(text: str) -> frozenset[str]:
    return frozenset(map(folded, text.split()))


# The codes of currencies. In the tables below, the empty code is used for words and
# signs that several currencies share, such as "kr".
CODES = frozenset(
    "aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd btn bwp byn bzd cad cdf chf "
    "clf clp cny cnh cop crc cup cve czk djf dkk dop dzd egp ern etb eur fjd fkp gbp gel ghs gip gmd gnf gtq gyd hkd "
    "hnl htg huf idr ils inr iqd irr isk jmd jod jpy kes kgs khr kmf kpw krw kwd kyd kzt lak lbp lkr lrd lsl lyd mad "
    "mdl mga mkd mmk mnt mop mru mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar "
    "ron rsd rub rwf sar sbd scr sdg sek sgd shp sle sos srd ssp stn svc syp szl thb tjs tmt tnd top try ttd twd tzs "
    "uah ugx usd uyu uzs ved ves vnd vuv wst xaf xcd xcg xof xpf yer zar zmw zwg btc eth usdt usdc".upper().split()
)
SIGNS = {
    "€": "EUR", "£": "GBP", "₹": "INR", "₺": "TRY", "₽": "RUB", "₴": "UAH", "₩": "KRW", "₪": "ILS", "฿": "THB",
    "₫": "VND", "₦": "NGN", "₱": "PHP", "₿": "BTC", "💶": "EUR", "💷": "GBP", "💴": "", "💵": "", "💰": "",
}  # fmt: skip
_WORDS = {
    "EUR": "欧元 歐元 ユーロ 유로 euro euros eurs eurot euroa euron eura eiro evro avro евро євро ευρω يورو אירו यूरो",
    "GBP": "英镑 英鎊 quid sterling",
    "CHF": "sfr franken",
    "PLN": "zł",
    "CZK": "kč korun koruna koruny",
    "RUB": "руб р тр rouble roubles rubel",
    "UAH": "грн",
    "BGN": "лв лева",
    "INR": "rupien rupias roupies रुपये रुपए रुपया",
    "IDR": "rupiah rp",
    "MYR": "rm",
    "BRL": "reais",
    "TRY": "tl lira liras lirası",
    "CNY": "yuan renminbi rmb 人民币 人民幣",
    "USD": "美元 美金",
    "HKD": "港币 港幣 港元",
    "JPY": "日元 日圆 日圓 yen 円 엔",
    "KRW": "韩元 韓元 원",
    "THB": "baht บาท",
    "VND": "đồng vnđ",
    "ILS": "שקל שקלים שח nis",
    "NGN": "naira",
    "TWD": "台币 台幣",
    "KES": "ksh kshs",
    "TZS": "tsh",
    "UGX": "ush",
    "BDT": "tk",
    "KZT": "тенге тг",
    "VES": "bs",
    "AED": "dhs دإ",
    "SAR": "رس",
    "EGP": "جم",
    "KWD": "kd دك",
    "LBP": "لل",
    "PHP": "piso",
    "": "ドル ポンド 달러 파운드 δολάρια δολάριο दॉलर डॉलर دولار דולר ดอลลาร์ "
    "pound pounds pfund livre livres libra libras sterlina sterline libre franc francs franchi franco fr "
    "kr kron kronor kroner krona krone kronen krónur ft dol dols buck bucks cent cents centime centimes penny "
    "pence pennies rs rupiya peso pesos dinar dinars dirham dirhams riyal riyals rial rials ريال درهم "
    "دينار جنيه ليرة leu lei lev leva kuna tenge grand som soum taka birr cedi cedis kwacha shilling "
    "shillings dh уе won dong real rand rands sol soles mark marks crown crowns 元 圆 圓 块 塊 角",
}
# Names of money that are ordinary words too. They count as money only after a number,
# or as a code in capitals.
_ORDINARY = _words(
    "all ang bam bob cad cop cup gel ils lak mad mop mur nad pen ron rub sos top try ves "
    "ft grand won real sol mark som lev lei leu cent libra libre livre franco nis bs tk kd dh р тр رس دإ جم دك لل "
    "块 塊 角 원 엔"
)
# Beginnings of words that name money in all their forms: "rubl" for rubles, rublej.
_BEGINNINGS = {
    folded(word): code
    for word, code in {
        "dollar": "", "dolar": "", "доллар": "", "долар": "", "рубл": "RUB", "ruble": "RUB", "гривн": "UAH",
        "гривен": "UAH", "hryvn": "UAH", "zlot": "PLN", "złot": "PLN", "forint": "HUF", "rupee": "INR",
        "ringgit": "MYR", "бакс": "", "динар": "", "денар": "MKD", "shekel": "ILS", "bitcoin": "BTC",
    }.items()
}  # fmt: skip
# After one of these, an ordinary word is money: "Danish crowns".
_NATIONS = frozenset(
    "danish swedish norwegian icelandic czech slovak african brazilian korean vietnamese turkish italian swiss french "
    "belgian romanian moldovan bulgarian peruvian malaysian german cyprus irish egyptian syrian lebanese uzbek".split()
)
_BAHT = folded("บาท")
_CURRENCY = {folded(one): one for one in CODES}
_CURRENCY |= {
    folded(word): code for code, words in _WORDS.items() for word in words.split()
}
# Names of money that mean a thousand of it: "5 grand".
THOUSANDS = frozenset(("grand", "тр"))
# A pattern of the Chinese, Japanese and Korean names of money: these languages have no
# spaces between words.
CJK_MONEY = "|".join(
    sorted((one for one in _CURRENCY if one >= _FIRST_CJK), key=len, reverse=True)
)
# By skeleton (what it looks like), the Latin names of money.
_SKELETONS = {skeleton(key): key for key in _CURRENCY if key.isascii()}
# Letters before "$" that say which currency it is, as in "A$"; also codes.
DOLLARS = {
    "us": "USD", "a": "AUD", "au": "AUD", "c": "CAD", "ca": "CAD", "can": "CAD", "nz": "NZD", "hk": "HKD", "s": "SGD",
    "sg": "SGD", "r": "BRL", "nt": "TWD", "mx": "MXN",
} | {one.lower(): one for one in CODES if one.endswith("D") or one in ("MXN", "BRL", "ARS", "CLP", "COP")}  # fmt: skip
# By (word before, beginning of the name): which currency it is, as in "Swiss francs".
NATIONAL = {
    ("us", "dollar"): "USD", ("american", "dollar"): "USD", ("canadian", "dollar"): "CAD",
    ("australian", "dollar"): "AUD", ("singapore", "dollar"): "SGD", ("british", "pound"): "GBP",
    ("swiss", "franc"): "CHF", ("schweizer", "franken"): "CHF", ("swedish", "kron"): "SEK",
    ("danish", "kron"): "DKK", ("norwegian", "kron"): "NOK", ("indian", "rupee"): "INR",
}  # fmt: skip

# Letters that are money only before a number, as in "R 500" for rand.
PREFIXES = {
    "R": "ZAR", "S/": "PEN", "KD": "KWD", "NIS": "ILS", "Tk": "BDT", "TK": "BDT", "Bs": "VES", "BS": "VES",
    "LE": "EGP", "DH": "", "Ft": "HUF",
}  # fmt: skip
# Other abbreviations of money that may be written with points: "U.S.".
ABBREVIATIONS = frozenset(("US", "LE", "уе", "тр", "رس", "دإ", "جم", "دك", "لل", "שח"))

# How many zeros a word adds to the number before it. If languages differ, the larger
# number counts; but "billion" and "trillion" are read as in English, because either sum
# is a very large one.
ZEROS = {
    folded(word): zeros
    for zeros, words in {
        1: "십",
        2: "hundred hundreds hundert hunderter 百 백",
        3: "k thousand thousands tausend tausender tsd thsd ths thou mil mila mille migliaia tys tysiąc tysiące "
        "tysięcy tis tisíc tisíce тыс тисяч тысяч bin ezer ribu rb tuhat tuhatta tusen tusind duizend nghìn ngàn हजार "
        "千 仟 천",
        4: "万 萬 만",
        5: "l lakh lakhs lac lacs लाख",
        6: "m mn mio mln mill mills million millions millionen millón millones milhão milhões milione milioni mm млн "
        "juta jt triệu",
        7: "crore crores cr करोड़",
        8: "億 亿 억",
        9: "b bn bil bill mrd mld mlrd mia billion billions milliard milliards milliarde milliarden miliardi miliar "
        "miliard milyar tỷ млрд",
        12: "t tn trn trillion trillions billionen billón billones bilhão bilhões",
    }.items()
    for word in words.split()
}
# Words of ZEROS that may mean something else. They add zeros only directly after the
# digits ("5b"), or right before the money.
UNSURE_ZEROS = frozenset(
    ("b", "t", "l", "mm", "bin", "mil", "bil", "bill", "mill", "mia", "cr")
)
# Words of ZEROS that make a sum doubtful only if they are directly next to it.
_BESIDE_ONLY = UNSURE_ZEROS | {"m", "k", "tis", "ths", "thou", "rb", "jt"}
# Words which say that a sum is paid several times: anywhere near it, and only directly
# next to it.
_PRODUCTS = _words(
    "x times each apiece per pcs piece pieces fois veces vezes volte keer gånger крат раз razy krát"
)
_PRODUCTS_BESIDE = _words(
    "of at a an à je mal pro p von zu day daily week weekly month monthly year yearly"
)


def multiplies(word: str, *, is_beside: bool) -> bool:
    """Whether a word near a sum may add zeros to it. `is_beside`: directly next to it."""
    key = folded(word)
    return key in ZEROS and (is_beside or key not in _BESIDE_ONLY)


def is_of_products(word: str, *, is_beside: bool) -> bool:
    """Whether a word near a sum says that it is paid several times. `is_beside`:
    directly next to it.
    """
    key = folded(word)
    return key in _PRODUCTS or (is_beside and key in _PRODUCTS_BESIDE)


_NUMBER_WORDS = _words(
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety dozen dozens several "
    "zero zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig "
    "zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dutzend "
    "cent deux trois quatre cinq sept huit neuf dix onze douze vingt trente quarante cinquante soixante "
    "dos tres cuatro cinco seis siete ocho nueve diez veinte treinta cuarenta cincuenta sesenta setenta "
    "ochenta noventa cien ciento tre quattro cinque sette otto nove dieci venti trenta quaranta cinquanta "
    "sessanta settanta ottanta novanta cento dois três quatro sete oito nove dez vinte trinta quarenta "
    "twee drie vijf zes zeven acht negen tien twintig dertig honderd duizend "
    "два две три четыре пять шесть семь восемь девять десять двадцать сто тысяча "
    "dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć dva tři čtyři pět šest sedm osm devět deset "
    "iki üç dört beş altı yedi sekiz dokuz két három négy öt hét nyolc kilenc tíz "
    "kaksi kolme neljä viisi kuusi seitsemän kahdeksan yhdeksän kymmenen fem"
)
_PARTS_OF_NUMBER_WORDS = tuple(
    map(
        folded,
        "hundert tausend million milliard hundred thous honderd duizend cientos tusen tusind тысяч миллион миллиард "
        "พัน หมื่น แสน ล้าน".split(),
    )
)
_THOUSANDS_BEHIND = tuple(
    word for word, zeros in ZEROS.items() if zeros == 3 and len(word) > 2
)
# Letters that look like digits, as in "lOO".
_PASSES_FOR_DIGIT = frozenset(("o", "i", "l"))


def currency_of(
    word: str, *, before: str = "", follows_number: bool = False
) -> str | None:
    """Return the code of the currency that a word names, empty if it may be several;
    None if the word is no money. `before` is the word before it.
    """
    code, is_ordinary = _looked_up(word)
    is_sure = (
        not is_ordinary or follows_number or word in CODES or folded(before) in _NATIONS
    )
    return code if is_sure else None


# Returns what `currency_of` does, and whether the word is an ordinary one too.
@lru_cache(maxsize=8192)
def _looked_up(word: str) -> tuple[str | None, bool]:
    key = folded(word)
    if (
        key not in _CURRENCY
        and not word.isascii()
        and (has_mixed_scripts(word) or passes_for_latin(word))
    ):
        key = _SKELETONS.get(skeleton(word[:_LONGEST]), key)
    by_beginning = next(
        (code for start, code in _BEGINNINGS.items() if key.startswith(start)), None
    )
    if key.endswith(_BAHT):
        # Thai has no spaces between words, so the name ends a longer word.
        by_beginning = "THB"
    return _CURRENCY.get(key, by_beginning), key in _ORDINARY


def is_number_word(word: str) -> bool:
    """Whether a word is a number in words, or letters that look like digits."""
    key = folded(word)
    if key in _NUMBER_WORDS or any(part in key for part in _PARTS_OF_NUMBER_WORDS):
        return True
    if any(
        key.endswith(end) and key[: -len(end)] in _NUMBER_WORDS
        for end in _THOUSANDS_BEHIND
    ):
        # "cinquemila"
        return True
    return (key in ZEROS and (len(key) > 4 or key >= _FIRST_CJK)) or (
        len(key) > 2 and _PASSES_FOR_DIGIT.issuperset(key)
    )


MONTH_NAMES = (
    "january february march april may june july august september october november december "
    "januar februar märz mai juni juli oktober dezember "
    "janvier février mars avril juin juillet août septembre octobre novembre décembre "
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre "
    "jan feb mar apr jun jul aug sep sept oct nov dec okt dez"
).split()
MONTHS = frozenset(map(folded, MONTH_NAMES))
# Words beside a time of day.
CLOCK = frozenset("am pm uhr h utc gmt cet cest heures ore".split())
# Those of CLOCK that can also count hours.
COUNTS_HOURS = frozenset(("h", "heures", "ore"))
# After a number: words which say that it counts something else than money.
UNITS = _words(
    "% percent prozent pourcent procent st nd rd th second seconds sekunden minute minutes min minuten hour "
    "hours hr hrs stunde stunden std day days tag tage tagen jour jours dia dias giorni dagen working business "
    "week weeks woche wochen semaine semaines semana semanas month months monat monate monaten mois mes meses "
    "year years jahr jahre jahren ans año años people persons personen users seats items pieces stück pcs kb "
    "mb gb tb ms km cm kg px"
)
# Before a number: words which say that it is the number of something ("invoice 5").
REFERENCES = _words(
    "order orders invoice invoices receipt receipts ticket tickets case ref reference no nr num number numbers "
    "id customer account contract booking page step item line room flight version chapter section article "
    "clause policy po bestellung bestellnummer auftrag auftragsnummer rechnung rechnungsnummer nummer kunde "
    "kundennummer vertrag seite commande facture numéro pedido factura número ordine fattura ordre zamówienie"
)

# Larger sums count as this one.
LARGEST = Decimal(10) ** 15
DIGITS = re.compile(r"[0-9]+")
_OTHERS = re.compile(r"[^0-9]+")
# Separators that are equal to another one.
_SAME = str.maketrans("’‘٬·٫", "'''.,")


def value_of(written: str) -> Decimal | None:
    """Return the largest value that a written number can have: "1.200" is 1200. None if
    its separators are not valid in any language, or it has a sign such as ½.
    """
    groups = DIGITS.findall(written)
    separators = [
        one.translate(_SAME).strip() or " " for one in _OTHERS.findall(written)
    ]
    if not groups or "\x01" in written:
        return None
    cents = ""
    if (
        separators
        and separators.count(separators[-1]) == 1
        and separators[-1] in ".,"
        and len(groups[-1]) < 3
    ):
        cents = groups.pop()
        separators.pop()
    if not _are_groups(groups, separators):
        return None
    whole = "".join(groups)
    return (
        LARGEST if len(whole) > 15 else Decimal(f"{whole}.{cents}" if cents else whole)
    )


def _are_groups(groups: Sequence[str], separators: Sequence[str]) -> bool:
    """Whether groups of digits follow a custom: by thousands (1,000,000), or as in
    India (10,00,000).
    """
    first, *others = groups
    if not others:
        return len(first) == 1 or first[0] != "0"
    if len(set(separators)) > 1 or len(others[-1]) != 3:
        return False
    if len(others) == 1 and separators[0] in ".,":
        return True
    sizes = {len(one) for one in others[:-1]}
    return (len(first) < 4 and sizes <= {3}) or (
        len(first) < 3 and separators[0] == "," and sizes == {2}
    )
