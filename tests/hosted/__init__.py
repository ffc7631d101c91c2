"""A stand-in for hosted MultiMail, written from its public contract alone.

It shares no code with the gateway or the desk:

    .venv/bin/python -m tests.hosted --port 8025 --temper strict

It answers as the public documents say, with each behaviour that they leave open
(`temper.py`), and keeps a ledger of what left. `running.py` serves it for tests.
"""
