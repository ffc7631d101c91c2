"""Outside the parser, no pattern reads more of a stranger's text than its bound, however
long that is; and what is ASCII is read as ASCII.
"""

import pytest

from common.fingerprint import Content
from common.mail_addresses import clean_address
from gateway.auth import key_text
from mirror.attachments.file_types import claimed_by_type, ending_of
from risk.addresses import first_contact
from risk.findings import RiskContext

KELVIN = "\u212a"


def test_what_is_ascii_by_its_specification_is_read_as_ascii():
    types = (
        "text/markdown",
        " Text/Markdown ; x",
        f"text/mar{KELVIN}down",
        "text/xml\xa0",
    )
    assert [bool(claimed_by_type(one)) for one in types] == [True, True, False, False]
    assert [ending_of(f"a.{one}") for one in ("MKV", f"m{KELVIN}v")] == [
        "mkv",
        f"m{KELVIN}v",
    ]
    known = RiskContext(known_addresses={"kate@x.example": 1})
    for name, is_new in (("Kate", False), (f"{KELVIN}ate", True)):
        to = Content(to=(f"{name}@X.example",))
        assert bool(list(first_contact(to, None, known))) is is_new
    with pytest.raises(ValueError, match="not an email address"):
        clean_address("dana@x.example\xa0")
    headers = {"HTTP_AUTHORIZATION": " Bearer \t mm_key\xa0 "}
    assert key_text(headers) == "mm_key\xa0"
