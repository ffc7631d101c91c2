"""Where the demo's stand-ins for programs are told of events, and where the secret that signs for one is kept."""

EVENTS_PATH = "/e/"
EVENT_KEY = "demo-event-key-of-the-stand-in"
HOOK_PATH = "/hook"
# In credentials.env.
HOOK_SECRET = "HOOK_SECRET"
