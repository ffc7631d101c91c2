"""Alerts: who is notified of what happens on the desk, where, and whether it arrived.

It learns of everything from the ledger and is called by nobody to announce something.
It decides nothing about mail, except that a press on a card goes through the desk's own
commands. A new kind of alert is a file in channels/, as docs/contributing-channels.md
says. ledger_events.py says which acts of the ledger somebody can be notified about.
Start reading there, then destinations/ (what admins set), deliveries/ (planned and
delivered), channels/.
"""
