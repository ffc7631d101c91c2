"""Admin pages for risk: the points of the published risk rules, and the organization's
own words to look for. What the rules look for is in the package `risk`.

Start with `views.py`.
"""
