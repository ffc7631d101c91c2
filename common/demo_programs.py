"""The addresses at which the demo's stand-ins for programs receive events, and the name
of the signing secret.
"""

EVENTS_PATH = "/e/"
EVENT_KEY = "demo-event-key-of-the-stand-in"
HOOK_PATH = "/hook"
# In credentials.env.
HOOK_SECRET = "HOOK_SECRET"
