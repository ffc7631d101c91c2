"""Why a file has no rendering: a key from the process that reads it, and a sentence for the reviewer."""

SENTENCES = {
    "broken": "It is damaged, or made in a way that cannot be read here.",
    "busy": "Other files are being prepared. Open it again in a moment.",
    "entities": "Its XML declares entities of its own, which can fill the memory or fetch files. It was not read.",
    "failed": "The desk cannot show such files at the moment: the process for it does not start.",
    "form": "It is of a form that cannot be shown here.",
    "locked": "It is locked with a password, so what is in it cannot be shown.",
    "no_page": "It has no such page, or the page is beyond those shown here.",
    "no_room": "There is no room on the desk's disk to prepare it.",
    "too_large": "It unpacks to far more than any message needs. It was not read.",
    "too_much": "Showing it takes more memory or time than one file may use here, or ends the program that shows it.",
}


class Refused(Exception):
    """The file is not rendered; `reason` is a key of SENTENCES."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
