"""Implements `./run`: sets up a clone, and starts and looks after the embedded
PostgreSQL and Redis, the parser and every process of the product.

It imports only the standard library and the pure parts of `common`, never Django,
because it stays in memory as long as the product runs. Start reading in `__main__.py`
(the commands), then `commands.py` and `supervisor.py`.
"""
