"""Sums of money in texts: read right, or known not to be read; never missed, and never
smaller than they are. Sums of whole messages are in test_rules_applied.py.
"""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from docs.currencies import table
from risk.money import CURRENCIES
from risk.sums import MOST_READ, read_sums
from simple_form.data import rows

FIXTURES = Path(__file__).parent.parent / "fixtures"
MANY = "all that was bought for the new office"
# The largest sum of each currency, ? for one that may be several, and the text.
READ = {
    text: amounts
    for amounts, text in rows("""
1200.00 EUR               Please pay 1.200,00 EUR
1200 EUR                  1.200 EUR or 900 EUR
5000 ? 1200.50 EUR        $5k and €1,200.50
2500000 ?                 2.5 million dollars
241.00 EUR                We paid EUR 241.00.
50 EUR                    Order 7, in 2026. EUR 50 are due.
5000 EUR                  5000EUR
5000 EUR                  EUR5000
5000 EUR                  5000 \u2009 EUR
5000 EUR                  5.000€
5000 EUR                  5\u202f000 EUR
5000 EUR                  5, 000 EUR
5000 EUR                  5&nbsp;000&nbsp;&euro;
5000 EUR                  **5**000 *EUR*
5000 EUR                  5\\.000 EUR
5000 EUR                  E\u200bUR 5\xad000
5000 EUR                  ＥＵＲ ５０００
5000 EUR                  ٥٠٠٠ EUR
5000 EUR                  5000 ЕUR
5000 EUR                  5000,- EUR
5000 EUR                  5 k€
5000 EUR                  EUR 5 thousand
5000 EUR                  5000 (EUR)
5000 EUR                  5000EURplus
5000 ?                    Balance due: 5000
5000 ?                    Please pay 5000 by Friday.
500000 ?                  send 500 tenners
5000 USD                  5000 US dollars
5000 USD                  US$ 5000
5000 USD                  $5000 USD
5 ?                       give us $5
5000 CAD 20 ?             CA$5000 or C$20
5000 CHF                  5000 Swiss francs
5000 ?                    💲5000
5000.00 ?                 500000ct or 50 cents
500 EUR                   5 cents euros
500 ? 500 CZK 500 PLN     500 zł or 500 Kč or Rs. 500/-
100000 ?                  1,00,000 rupees
5000 ?                    5000元
50000 JPY                 5万円
20 EUR                    2026-11-30 EUR 20 is due
5000000 IDR               Rp 5 juta
5000 ? 5000 EUR           5 tEUR or 5 tkr
5000 RUB                  5 т.р. or 5000 р.
5000 ?                    5000,- or 5000.-
5000 VND                  5000đ
5000 ?                    5000 баксов
5000 JPY                  5000円
5000 AED                  Dhs 5000
5000 EUR                  💶 5000
5000 ?                    5000 cr0v vns
5000 ?                    5000 quid
20 EUR 5000 USD           5000 USDC or 20 EURC
5000 EUR                  Euronen: 5000
5000.00 ?                 500000 c
5000 ?                    5 Riesen
5000 ?                    5000 stablecoins
5000 ?                    5000 Mäuse, and 3 mice
5000 EUR                  Order 7 EUR 5000
""")
}
# Its currency is named further away: above, below, with another number. The last one has
# a long character reference.
READ |= {
    f"EUR {MANY}\nChair 5000\nTable 40": "5000 EUR",
    f"Chair 5000\n\n{MANY}. All amounts are in euros.": "5000 EUR",
    f"The lunch was EUR 20. {MANY} machine is 5.000": "5000 EUR",
    f"EUR 20 or USD 20. {MANY} machine is 300.00": "300.00 ? 20 EUR 20 USD",
    f"EUR 20. {MANY} +49 555 013 or 0555 013, for all 5000 of you": "20 EUR",
    f"Pay &#53;&#x30;00 EUR &#{'1' * 5_000};": "5000 EUR",
}
UNKNOWN = """
5000 of your EUR
EUR, as we said, 5000
EUR 1 now, 5000 later
EUR 20 plus 5000
5000 Danish crowns
3 × 5000 EUR
EUR 20-2000
2026-20 EUR
EUR 2026-11-30
EUR 10; 5000
2 BTC
5000h EUR
5000 days of EUR
https://x.example/5000 EUR
https://x.example/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/5000 EUR
EUR https://x.example/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/5000
\u202e0005 EUR
""".strip().splitlines()
UNKNOWN.append("word " * (MOST_READ // 5) + "EUR 5")


def test_sums_are_read_in_the_largest_reading():
    for text, amounts in READ.items():
        found = read_sums([text])
        largest = {f"{sum} {code or '?'}" for code, sum in found.largest.items()}
        assert (largest, found.unread) == ({*re.findall(r"\S+ \S+", amounts)}, ()), text


def test_number_near_money_that_is_not_read_makes_the_sum_unknown():
    assert [text[-40:] for text in UNKNOWN if not read_sums([text]).unread] == []
    assert read_sums(["Pay 5000 Danish crowns now."]).unread == ("5000 Danish crowns",)


def is_over_limit(text):
    found = read_sums([text])
    return found.unread or max(map(Decimal, found.largest.values()), default=0) >= 1000


@pytest.mark.parametrize(("name", "is_sum"), [("seen", True), ("none", False)])
def test_sum_is_seen_however_it_is_written_and_other_numbers_are_no_sums(name, is_sum):
    lines = (FIXTURES / f"sums_{name}.txt").read_text("utf-8").splitlines()
    assert [text for text in lines if bool(is_over_limit(text)) != is_sum] == []


@pytest.mark.slow
def test_names_of_currencies_are_those_of_cldr():
    names = table()
    assert names == CURRENCIES.read_text("utf-8"), "python -m docs.currencies"
    written = {
        name.lstrip("?")
        for line in names.splitlines()
        for name in line.split("|")[1:]
        if name[:1] not in ("=", ".")
    }
    missed = [name for name in written if not is_over_limit(f"We owe 5000 {name}.")]
    # Names of nine words and more.
    assert len(missed) < 10
