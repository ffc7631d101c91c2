"""Makes `risk/currencies.txt` from Unicode's CLDR, as the package babel has it: codes,
names and signs of currencies in many languages. `risk.money` says what the marks before
names mean. A test checks that the file is what this makes.

    python -m docs.currencies
"""

import re
from collections import defaultdict

from babel import localedata
from babel.core import get_global

from risk.money import CURRENCIES, UNSPACED, folded
from risk.sums import WORD, fold

# Languages whose names are all taken whole ("Swiss francs"), so that their codes are
# known. Of the others, a name is taken whole if no word of it counts by itself.
WHOLE = set(
    "en de fr es it pt nl pl ru uk tr sv da nb fi cs hu ro el ar he hi id ja ko zh yue th vi".split()
)
# Of these, Latin words for money ("francs") of four letters or less are left out: they
# are ordinary words elsewhere.
OTHERS = set(
    "be no nn sk bg hr sr sl mk fa ur bn pa gu mr ta te kn ml si ne ms lo km my am ka hy kk ky mn az et lv lt sq "
    "is ca eu gl cy ga mt sw af fil uz bs fo lb as ast br ceb ckb dsb eo fy gd gsw ha hsb ig jv ku mi or ps rm sc "
    "scn sd so tg ti tk tt ug xh yo zu".split()
)
# Parts of names that are no money, or that are far more often another word.
NO_MONEY = set(
    "new nuevo nuevos nouveau nouveaux novo novos nuovo nuovi nowy nowe nowa nowego nowych neo or oro ouro ouros "
    "gold de emas arany kulta kultaa ancien antiguo deutsche antic antics convertible libera colony coloni "
    "colonia do la ha pa pao lan lar lia lite take biri taki taky tale hard dobre dobry sola pesar leve bang "
    "liber tenga sole reale lejos batas tali soli yeni drama principe sons sois marcina dobrar kronos korunur "
    "pataki rends ange lara juan marek leon von kun din lat lata bat bats bate таке добре добра такі вони вона "
    "так така таки золоті золотых золотих золотого золотои νεα νεο παλια παλιο χρυση של לאו כתר זהב קונה ذهب کا "
    "لو لی بر سيدي نشان طلای تنگه مانت ทอง 金 金元 尼 币 幣 諾 诺 골드 동".split()
)
# Short words that are nothing but money, and longer ones that are ordinary words too.
SURE = set(
    "euro euros baht bahts birr yen yens kyat kyats riel riels cedi cedis manat manats nakfa taka dolar franc "
    "francs pesos krone krona zloty yuan rupee ruble rubel rubla rubli dinar lira riyal rials naira tenge rublo "
    "rupia rupie pfund евро євро рубль рубля рубли рублі франк франки фунт фунта фунти песо лира ліра тенге юань "
    "юаня долар ευρω ريال ریال يورو یورو درهم جنيه ليرة روبل دلار پوند אירו דולר यूरो डॉलर येन".split()
)
ORDINARY = set(
    "pounds livres libras marcos corona coronas couronne korona leones cordoba balboa guarani escudo escudos "
    "colones florin florina reales markas franco franken colons escuts puntaa koloni koloon franchi marchi franci "
    "realia dramas drammi frange corone corones kolona bolivar realer franky franko franki lliures quetzal leone "
    "dong all ang bam bob cad cop cup gel ils lak mad mop mur nad pen ron rub sos top try ves npr".split()
)
NO_SIGNS = set("UP Kg SR LS ECU mk Le din den D E F G R S B/ S/ BsS XXX".split())
ENGLISH = localedata.load("en")
# By code, the English word for the currency: franc, dollar.
NOUNS = {
    code: re.sub(r" ?\(.*", "", name).split()[-1]
    for code, name in ENGLISH["currency_names"].items()
    if code not in ("XXX", "XTS")
}


def table():
    """Return the text of the file."""
    tender = {
        code
        for issues in get_global("territory_currencies").values()
        for code, _, until, is_tender in issues
        if is_tender and until is None
    }
    no_money = NO_MONEY.union(
        *map(words_of, ENGLISH["territories"].values()),
        *map(words_of, ENGLISH["languages"].values()),
    )
    no_money -= ORDINARY
    found = defaultdict(set)
    whole = defaultdict(set)
    for code in tender:
        found[f"?{code.lower()}" if code.lower() in ORDINARY else code.lower()].add(
            code
        )
    for locale in localedata.locale_identifiers():
        language = locale.partition("_")[0]
        if language not in WHOLE | OTHERS:
            continue
        data = localedata.load(locale)
        names = list(data["currency_names"].items())
        for code, forms in data["currency_names_plural"].items():
            names += [(code, form) for form in forms.values()]
        # Without the years in brackets.
        names = {(code, fold(re.sub(r" ?[(（].*", "", name))) for code, name in names}
        for code, word in money_words(names, data["territories"].values()):
            is_taken = language in WHOLE or len(word) > 4 or not word.isascii()
            if code in tender and is_taken and word not in no_money:
                found[marked(word)].add(code)
        for code, name in names:
            words = tuple(words_of(name))
            if len(words) > 1 or (UNSPACED.match(name) and code in tender):
                whole[words].add((code, language in WHOLE))
        for code, sign in data["currency_symbols"].items():
            letters = re.sub(r"[\s.\u200b]", "", fold(sign))
            is_short = len(letters) < 4 and letters.isalpha()
            if letters not in NO_SIGNS | NOUNS.keys() and (
                letters.isascii() or not is_short
            ):
                found[f"={letters}" if is_short else folded(letters)].add(code)
    for words, meant in whole.items():
        if any(is_whole for _, is_whole in meant) or found.keys().isdisjoint(words):
            found[" ".join(words)].update(code for code, _ in meant)
    lines = {code: [] for code in ["", *sorted(NOUNS)]}
    for name in found.keys() - {""}:
        codes = found[name] & tender or found[name] & NOUNS.keys()
        lines[codes.pop() if len(codes) == 1 else ""].append(name)
    return "".join("|".join([code, *sorted(lines[code])]) + "\n" for code in lines)


def words_of(name):
    return [folded(word) for word in WORD.findall(name)]


def marked(word):
    """Return a word with the mark of those that are money only after a number."""
    shortest = 6
    if UNSPACED.match(word):
        shortest = 4
    elif word == word.upper():
        # A script without capital letters.
        shortest = 5
    is_ordinary = len(word) < shortest and word not in SURE
    return f"?{word}" if is_ordinary or word in ORDINARY else word


def money_words(names, places):
    """Yield (code, word) for the words that mean money in names such as "Swiss franc".

    They are those that most names of one kind of currency share, if three countries
    have it; else the first or the last word, as in most other names of the language. In
    names without spaces, a place ends a word.
    """
    kinds = defaultdict(list)
    places = sorted(map(fold, places), key=len, reverse=True)
    for code, name in names:
        if UNSPACED.match(name):
            for place in places:
                name = name.replace(place, " ")
        if code in NOUNS and (words := words_of(name)):
            kinds[NOUNS[code]].append((code, words))
    others = []
    is_first = 0
    for of_kind in kinds.values():
        countries = defaultdict(set)
        for code, words in of_kind:
            for word in words:
                countries[word].add(code[:2])
        most = max(map(len, countries.values()))
        shared = {
            word for word in countries if len(countries[word]) >= max(3, most * 0.3)
        }
        for code, words in of_kind:
            known = shared.intersection(words)
            yield from ((code, word) for word in known)
            if not known:
                others.append((code, words))
            elif len(words) > 1:
                is_first += 1 if words[0] in known else -1
    for code, words in others:
        yield code, words[0 if is_first > 0 else -1]


if __name__ == "__main__":
    CURRENCIES.write_text(table(), "utf-8")
