"""Alerts: who is notified of what happens on the desk, where, and whether it arrived.

It learns of everything from the ledger and is called by nobody to announce something. It decides nothing about mail,
except that a press on a card goes through the desk's own commands. Start reading at events.py, then destinations/
(what admins set), deliveries/ (planned and delivered), channels/ (one folder for each kind of destination).
"""
