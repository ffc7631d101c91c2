"""Live updates of open pages. `hints` publishes a short message to Redis when something
changes, and `stream` is the process that passes these hints on to open pages.

Nothing depends on them: pages without a stream poll. `stream` uses neither Django nor
the database.
"""

# The Redis channel through which hints pass.
CHANNEL = "countersign:hints"
