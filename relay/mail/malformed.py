"""MalformedMail: the one error of reading a mail."""


class MalformedMail(ValueError):
    """The structure is too broken, or too large, to be read whole; what is not read whole is not relayed.

    str() is a sentence without content of the mail. defect: its name ("nesting-too-deep", …).
    """

    def __init__(self, defect: str, sentence: str) -> None:
        super().__init__(sentence)
        self.defect = defect
