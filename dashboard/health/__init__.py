"""Health checks: PostgreSQL, Redis, disk and clock, background jobs that stopped,
metrics for Prometheus.

It changes nothing and decides nothing. Start in `checks.py`, whose findings the doctor
prints.
"""
