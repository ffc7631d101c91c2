"""Fills the product with an active policy, a draft, groups, review plans, pending
changes and a flood, for the screenshots of their pages (tests/pictures.py).

Most rows are written directly into the database. Nothing is removed afterwards, because
the product is used only for screenshots.
"""

from pathlib import Path

_ROWS = Path(__file__).with_suffix(".sql").read_text()
# How many are sent: more than the cap of messages in an hour. Those past it are set
# apart.
_FLOOD = 8


def make_policy(product, reader):
    """Make all of it. Return the addresses of a message with one of two approvals, and
    of the flood, for the braces in addresses.
    """
    people = {"ANA": "REVIEWER", "BEN": "REVIEWER2", "IDA": "ADMIN"}
    emails = {name: product.known[f"{one}_EMAIL"] for name, one in people.items()}
    product.sql(_ROWS.format(**emails))
    row = product.hold(
        reader,
        "Quote for EUR 4,800",
        body="Hello Dana,\n\nthe quote is EUR 4,800.00 for the year.",
    )
    product.reviewer("REVIEWER2").decide(row["id"], "approve", row["fingerprint"])
    late = "SELECT 1 FROM approvals_review WHERE late_since IS NOT NULL"
    product.wait_for(lambda: product.sql(late), timeout=60, what="messages to be late")
    product.sql("UPDATE approvals_cap SET an_hour = 3 WHERE kind = 'key'")
    for number in range(_FLOOD):
        product.send(f"Your seat for the workshop, reminder {number + 1}")
    apart = "SELECT id FROM approvals_brake"
    [(flood,)] = product.wait_for(
        lambda: product.sql(apart), timeout=60, what="the flood"
    )
    return {"two": f"/queue/{row['id']}/", "flood": f"/queue/apart/{flood}/"}
