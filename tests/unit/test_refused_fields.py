"""A 422 names the fields of a decision that a host does not take, in the words of its
framework.
"""

import json

from simple_form.data import rows
from upstream.refused_fields import refused_fields

SENT = {
    "email_id": "01EMAIL", "action": "approve", "reason": "(Ana via Countersign, reference AB12)",
    "decided_by": "Ana via Countersign", "expected_fingerprint": "f" * 64,
}  # fmt: skip
# Which fields a refusal names, or - for none, and its body, by the framework that wrote it.
ANSWERS = """
# pydantic, with the request repeated beside each complaint
decided_by  {"detail": [{"type": "extra_forbidden", "loc": ["body", "decided_by"],
    "msg": "Extra inputs are not permitted", "input": "Ana via Countersign"}]}
# zod, ajv, joi
decided_by reason  {"error": {"issues": [{"code": "unrecognized_keys", "keys": ["decided_by", "reason"]}]}}
expected_fingerprint  {"validation": {"body": {"keys": ["expected_fingerprint"]}}}
# Django REST framework, Rails, Go, our gateway
decided_by  {"decided_by": ["Unexpected field."]}
reason  {"error": "json: unknown field \\"reason\\""}
reason  {"error": "reason: a decision has no such field. Its fields: action, decided_by, expected_fingerprint.",
    "code": "unknown_field", "field": "reason"}
# What a sentence quotes of the message, or says of the text of a field that is known
-  {"error": "to: decided_by@x.example is suppressed.", "field": "to", "recipients": ["decided_by@x.example"]}
-  {"error": "decided_by: is nobody of this account.", "code": "invalid_field", "field": "decided_by"}
# No field of ours, or a word of plain English
-  {"error": "For this reason it was refused.", "code": "invalid"}
-  {"error": "{\\"email_id\\": \\"01EMAIL\\", \\"decided_by\\": \\"Ana\\"} is not a decision"}
# The reviewer's words are too long: dropping them would be no answer to that.
-  {"errors": {"reason": ["Ensure this field has at most 500 characters."]}}
"""


def test_optional_fields_that_a_refusal_names_are_found():
    for fields, *parts in rows(ANSWERS):
        if not fields.startswith("#"):
            answer = json.loads(" ".join(parts))
            named = tuple(fields.strip("-").split())
            assert refused_fields(SENT, answer) == named, answer
    # What was not sent is not refused again.
    sent = {"email_id": "01EMAIL", "decided_by": "Ana"}
    answer = {"error": "unknown fields: decided_by, expected_fingerprint"}
    assert refused_fields(sent, answer) == ("decided_by",)
