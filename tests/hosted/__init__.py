"""A stand-in for hosted MultiMail, written from its public documents alone. It shares
no code with the gateway or the desk.

It answers as the documents say, with a switch for each behaviour that they leave open
(`temper.py`), and records which messages were sent. `running.py` serves it for tests;
by hand:

    .venv/bin/python -m tests.hosted --port 8025 --temper strict
"""
