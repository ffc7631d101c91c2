"""The site: settings and addresses, what stands around every page, home, health, live updates, commands for operators.

It may import every app but the gateway and the demo, and no app imports it. Start in `urls.py` for what it answers,
`settings.py` for how it is put together, and `celery.py` for what it does by itself.
"""
