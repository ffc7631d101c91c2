"""Reliable outgoing HTTP: a delivery row, how it is claimed and retried, and a guarded
session. No more than that.
"""
