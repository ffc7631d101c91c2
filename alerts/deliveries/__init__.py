"""What every destination receives, and each attempt at it: planned with the act that
asks for it, then delivered.

It knows kinds of destinations only through alerts.channels, and nothing of pages. Start
reading at planning.py (rows in the transaction of the act), then drain.py and
deliver.py (a worker delivers them).
"""
