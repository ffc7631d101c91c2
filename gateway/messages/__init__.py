"""The way of a message: draft, admission, submission, decision, outbox.

Knows nothing of HTTP and of how mail comes in. Start at `submission.py`; what leaves,
and what happens when a worker or a mail server dies, is in `outbox.py`.
"""
