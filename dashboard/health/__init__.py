"""How the desk is: PostgreSQL, Redis, disk and clock, background work that fell silent, figures for Prometheus.

It changes nothing and decides nothing. Start in `checks.py`, whose findings the doctor prints.
"""
