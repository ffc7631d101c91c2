"""What happens to a message: it is checked and stored (`submission.py`), decided
(`decisions.py`) and sent (`outbox.py`).

This folder knows nothing of HTTP or of how mail is received. Start at `submission.py`;
what happens when a worker or a mail server dies is in `outbox.py`.
"""
