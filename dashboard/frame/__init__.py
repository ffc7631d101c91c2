"""Shared by every page: middleware, the layout's context, error pages, bundles of
static files.

It does not import the pages of the apps. Start in `middleware.py`.
"""
