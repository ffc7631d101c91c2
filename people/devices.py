"""Names a browser and its system in words, by what it says of itself: a hint for its owner, and no proof."""

_BROWSERS = (
    *(("Edg/", "Edge"), ("OPR/", "Opera"), ("SamsungBrowser/", "Samsung Internet"), ("Firefox/", "Firefox")),
    *(("FxiOS/", "Firefox"), ("CriOS/", "Chrome"), ("HeadlessChrome/", "Chrome"), ("Chrome/", "Chrome")),
    *(("Safari/", "Safari"), ("curl/", "curl"), ("python-requests/", "a Python script")),
)
_SYSTEMS = (
    *(("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("CrOS", "ChromeOS"), ("Windows", "Windows")),
    *(("Macintosh", "Mac"), ("Mac OS X", "Mac"), ("Linux", "Linux")),
)
UNKNOWN = "A program that does not say what it is"


def device_in_words(user_agent: str) -> str:
    """Return the browser and where it runs, as `Firefox on Windows`."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    if browser and system:
        return f"{browser} on {system}"
    words = browser or (f"A browser on {system}" if system else UNKNOWN)
    return f"{words[0].upper()}{words[1:]}"
