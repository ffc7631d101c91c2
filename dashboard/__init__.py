"""The site itself: settings, URLs, the layout of pages, home, health checks, live
updates, and commands for operators.

It may import every app except the gateway and the demo, and no app imports it. Start in
`urls.py` for the URLs, `settings.py` for the configuration, and `celery.py` for the
periodic jobs.
"""
