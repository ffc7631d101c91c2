"""Why a file has no rendering: a key from the process that reads it, and a sentence for
the reviewer.
"""

SENTENCES = {
    "broken": "It is damaged, or in a form that cannot be read here.",
    "busy": "Other files are being prepared. Open it again in a moment.",
    "entities": "Its XML declares entities of its own, which can fill the memory or fetch files. It was not read.",
    "form": "It is in a form that cannot be shown here.",
    "kind": "It is no picture that can be drawn here.",
    "locked": "It is encrypted with a password, so its content cannot be shown.",
    "no_page": "It has no such page, or the page is beyond those shown here.",
    "no_room": "The desk's disk is full, so it cannot be prepared.",
    "pixels": "It claims more pixels than fit in the memory.",
    "tiny": "It is too small to be seen.",
    "too_large": "It unpacks to far more than any message needs, so it was not read.",
    "too_much": "Showing it takes too much memory or time, or crashes the renderer.",
}


class Refused(Exception):
    """The file is not rendered; `reason` is a key of SENTENCES, `detail` what it is
    about.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
