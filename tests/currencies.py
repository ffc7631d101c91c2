"""Makes `risk/currencies.txt` from Unicode's CLDR, as the package babel has it: codes,
names and signs of currencies in many languages. `risk.money` says how it is read.

    python -m tests.currencies
"""

import re
from collections import Counter, defaultdict

from babel import localedata
from babel.core import get_global

from risk.money import CURRENCIES, UNSPACED, folded
from risk.sums import WORD, fold

# Languages whose names are all taken whole ("Swiss francs"), so that their codes are
# known; those whose words for money are taken too ("francs"); and those of which only
# the longer words are, because the shorter ones are ordinary words elsewhere. Other
# names are taken whole where no word of them counts by itself.
WHOLE = set(
    "en de fr es it pt nl pl ru uk tr sv da nb fi cs hu ro el ar he hi id ja ko zh yue th vi".split()
)
WORDS = WHOLE | set(
    "be no nn sk bg hr sr sl mk fa ur bn pa gu mr ta te kn ml si ne ms lo km my am ka hy kk ky mn az".split()
)
LONGER = set(
    "et lv lt sq is ca eu gl cy ga mt sw af fil uz bs fo lb as ast br ceb ckb dsb eo fy gd gsw ha hsb ig jv ku mi or ps "
    "rm sc scn sd so tg ti tk tt ug xh yo zu".split()
)
# Parts of names that are no money, or that are far more often another word.
NO_MONEY = set(
    "new nuevo nuevos nouveau nouveaux novo novos nuovo nuovi nowy nowe nowa nowego nowych neo or oro ouro ouros gold "
    "emas arany kulta kultaa ancien antiguo deutsche antic antics convertible libera colony coloni colonia do la ha pa "
    "pao lan lar lia lite take biri taki taky tale hard dobre dobry sola pesar leve bang liber tenga sole reale lejos "
    "batas tali soli yeni drama principe sons sois marcina dobrar kronos korunur pataki rends ange lara juan marek leon "
    "von kun din lat lata bat bats bate таке добре добра такі вони вона так така таки золоті золотых золотих золотого "
    "золотои νεα νεο παλια παλιο χρυση של לאו כתר זהב קונה ذهب کا لو لی بر سيدي نشان طلای تنگه مانت ทอง 金 金元 尼 币 幣 "
    "諾 诺 골드 동".split()
)
# Short words that are nothing but money, and longer ones that are ordinary words too.
SURE = set(
    "euro euros dolar franc francs pesos krone krona zloty yuan rupee ruble rubel rubla rubli dinar lira riyal rials "
    "naira tenge rublo rupia rupie pfund евро євро рубль рубля рубли рублі франк франки фунт фунта фунти песо лира "
    "ліра тенге юань юаня долар ευρω ريال ریال يورو یورو درهم جنيه ليرة روبل دلار پوند אירו דולר यूरो डॉलर येन".split()
)
ORDINARY = set(
    "pounds livres libras marcos corona coronas couronne korona leones cordoba balboa guarani escudo escudos colones "
    "florin florina reales markas franco franken colons escuts puntaa koloni koloon franchi marchi franci realia dramas "
    "drammi frange corone corones kolona bolivar realer franky franko franki lliures quetzal "
    "dong all ang bam bob cad cop cup gel ils lak mad mop mur nad pen ron rub sos top try ves npr".split()
)
NO_SIGNS = set("UP Kg Kg. SR LS ECU mk Le din. den den. дин. ден. D E F G R S B/. S/ Bs.S ر".split())
# By code, the English word for the currency: franc, dollar.
NOUNS = {
    code: re.sub(r" ?\(.*", "", name).split()[-1]
    for code, name in localedata.load("en")["currency_names"].items()
}


def table():
    """Return the text of the file."""
    issues = [
        issue
        for of_territory in get_global("territory_currencies").values()
        for issue in of_territory
        if issue[3]
    ]
    tender = {code for code, _, until, _ in issues if until is None}
    # With those that the euro replaced.
    recent = {code for code, _, until, _ in issues if not until or until[0] > 1998}
    codes = NOUNS.keys() - {"XXX", "XTS"}
    english = localedata.load("en")
    no_money = NO_MONEY.union(
        *map(words_of, english["territories"].values()),
        *map(words_of, english["languages"].values()),
    )
    found = defaultdict(set)
    whole = defaultdict(set)
    for code in tender:
        found[f"?{code.lower()}" if code.lower() in ORDINARY else code.lower()].add(code)
    for locale in localedata.locale_identifiers():
        language = locale.partition("_")[0]
        if language not in WORDS | LONGER:
            continue
        data = localedata.load(locale)
        names = names_in(data)
        recent_names = [(code, name) for code, name in names if code in recent]
        is_unspaced = [name for _, name in names if UNSPACED.match(name) and " " not in name]
        if len(is_unspaced) > len(names) / 2:
            places = sorted(map(fold, data["territories"].values()), key=len, reverse=True)
            words = unspaced_money_words(recent_names, places)
        else:
            words = money_words(recent_names)
        for code, word in words:
            is_money = word not in no_money or word in ORDINARY
            if is_money and (language in WORDS or len(word) > 4):
                found[marked(word)].add(code)
        for code, name in names:
            words = tuple(words_of(name))
            if len(words) > 1 or (UNSPACED.match(name) and code in tender):
                whole[words].add((code, language in WHOLE))
        for code, sign in data["currency_symbols"].items():
            if sign != code and sign not in NO_SIGNS:
                found[marked_sign(sign)].add(code)
    for words, meant in whole.items():
        if any(is_whole for _, is_whole in meant) or found.keys().isdisjoint(words):
            found[" ".join(words)].update(code for code, _ in meant)
    lines = {code: [] for code in ["", *sorted(codes)]}
    for name, meant in found.items():
        known = meant & codes & tender or meant & codes
        if name and known:
            lines[known.pop() if len(known) == 1 else ""].append(name)
    return "".join(f"{'|'.join([code, *sorted(names)])}\n" for code, names in lines.items())


def names_in(data):
    """Return (code, name) of all names in a language, without the years in brackets."""
    names = list(data["currency_names"].items())
    for code, forms in data["currency_names_plural"].items():
        names += [(code, form) for form in forms.values()]
    return sorted({(code, fold(re.sub(r" ?[(（].*", "", name))) for code, name in names})


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


def marked_sign(sign):
    sign = fold(sign).strip()
    letters = re.sub(r"[\s.]", "", sign)
    if len(letters) > 3 or not letters.isalpha():
        return folded(letters)
    if letters != letters.swapcase():
        return f"={letters}"
    return f".{folded(letters)}" if "." in sign.strip(".") else f"?{folded(letters)}"


def money_words(names):
    """Yield (code, word) for the words that mean money in names such as "Swiss franc".

    They are those that most names of one kind of currency share, if three countries
    have it; else the first or the last word, as in most other names of the language.
    """
    kinds = defaultdict(list)
    for code, name in names:
        kinds[NOUNS[code]].append((code, words_of(name)))
    others = []
    is_first = 0
    for of_kind in kinds.values():
        countries = defaultdict(set)
        for code, words in of_kind:
            for word in words:
                countries[word].add(code[:2])
        most = max(map(len, countries.values()), default=0)
        shared = {
            word for word, of_word in countries.items() if len(of_word) >= max(3, most * 0.3)
        }
        for code, words in of_kind:
            known = shared.intersection(words)
            yield from ((code, word) for word in known)
            if not known:
                others.append((code, words))
            elif len(words) > 1:
                is_first += 1 if words[0] in known else -1
    for code, words in others:
        if words:
            yield code, words[0 if is_first > 0 else -1]


def unspaced_money_words(names, places):
    """Yield (code, word) likewise for a language without spaces: the end that names of
    one kind of currency share, or what the name of a country leaves.
    """
    kinds = defaultdict(list)
    for code, name in names:
        kinds[NOUNS[code]].append((code, name))
    for of_kind in kinds.values():
        ends = Counter(
            end
            for _, name in of_kind
            for size in range(1, len(name) + 1)
            for end in {name[:size], name[-size:]}
        )
        if len({code[:2] for code, _ in of_kind}) > 2:
            most = max(ends.values())
            word = max((one for one in ends if ends[one] >= most * 0.9), key=len)
            yield from ((code, word) for code, _ in of_kind)
    for code, name in names:
        for place in places:
            rest = name.removeprefix(place).removesuffix(place)
            if place and rest and rest != name:
                yield code, rest
                break


if __name__ == "__main__":
    CURRENCIES.write_text(table(), "utf-8")
