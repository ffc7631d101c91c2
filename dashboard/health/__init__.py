"""Health checks of PostgreSQL, Redis, disk, clock and background jobs, and metrics for
Prometheus.

It only reads. Start in `checks.py`, whose findings the command `doctor` prints.
"""
