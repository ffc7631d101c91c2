"""The root of errors that are shown to people."""


class SentenceError(Exception):
    """An error with a sentence for the person who asked; unless it `is_final`, the same
    can be tried again.
    """

    is_final = True

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence
