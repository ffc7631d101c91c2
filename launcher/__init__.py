"""Implements `./run`: set-up of a clone, the embedded PostgreSQL and Redis, and every
process of the product.

Standard library and the pure parts of `common` only: it must stay small, and it never
imports Django. Start reading in `__main__.py` (the commands), then `commands.py` and
`supervisor.py`.
"""
