"""Live updates: `hints` publishes to Redis after commit, `stream` is the process that
passes hints on to open pages.

Nothing depends on them; pages without a stream poll. `stream` knows neither Django nor
the database.
"""

# The name under which hints pass through Redis.
CHANNEL = "countersign:hints"
