"""Reliable outgoing HTTP: a base class for rows of deliveries, which are claimed,
retried and ended; when to try again; and requests that do not reach private addresses.
"""
