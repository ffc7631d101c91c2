"""Small pieces that two or more apps share: PostgreSQL, Celery, HTTP requests, text and
addresses.

It imports nothing else of ours and knows no subject of the desk. Each module stands
alone; read the one you need.
"""
