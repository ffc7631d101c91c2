"""Plans and delivers what destinations receive. An act in the ledger is planned as rows
of deliveries, and workers deliver these rows with as many attempts as needed.

No file here knows a kind of destination except through alerts.channels, or anything of
pages. Start reading at planning.py (which makes the rows), then drain.py and deliver.py
(which deliver them).
"""
