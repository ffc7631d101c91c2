"""The published risk rules as admins see and weigh them. What a rule looks for is in
the package `risk`.

Start with `views.py`.
"""
