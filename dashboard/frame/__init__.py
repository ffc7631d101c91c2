"""What stands around every page: middleware, the values of the frame, error pages, bundles of static files.

It knows what the apps tell of themselves, and no page of theirs. Start in `middleware.py`.
"""
