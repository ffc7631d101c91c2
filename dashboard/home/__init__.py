"""The home page: what waits, how the connections are, and charts of the last week.

It shows nobody more than they may see, and decides nothing.
"""
