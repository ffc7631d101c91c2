"""The root of errors that are shown to people."""


class SentenceError(Exception):
    """An error with a sentence for the person whose request failed. If `is_final` is
    false, trying the same again may succeed. A page that shows it has this `status`.
    """

    is_final = True
    status = 409

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
