"""Alerts: posts what happens on the desk to chat channels and programs, and keeps a log
of what arrived.

Alerts listen to the ledger: no other code calls them to announce something. They decide
nothing about mail, except that a press of a button on a card runs the desk's own
commands. A new kind of destination is a file in channels/, as
docs/contributing-channels.md says.

Start reading at ledger_events.py (about which acts somebody can be notified), then
destinations/ (what admins set), deliveries/ (planning and delivering), channels/.
"""
