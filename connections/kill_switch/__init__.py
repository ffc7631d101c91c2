"""The pages of the kill switch, and of holding all mail at our own gateway.

What the switch stops is in `policy.kill_switch`. Start with `views.py`.
"""
