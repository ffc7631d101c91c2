"""What all pages share: middleware, the layout's context, error pages, and bundles of
static files.

It does not import the pages of the apps. Start in `middleware.py`.
"""
