"""MalformedMail: the one error of reading a mail."""

from relay.details import defect


class MalformedMail(ValueError):
    """The structure is too broken, or too large, to be read whole; what is not read whole is not relayed.

    str() is an English sentence without content of the mail. defect: its name ("nesting-too-deep", …). figure: the
    limit that was passed, "" where there is none.
    """

    def __init__(self, name: str, figure: str = "") -> None:
        super().__init__(defect(name, "en", figure))
        self.defect, self.figure = name, figure

    def text(self, language: str = "en") -> str:
        """The sentence in "en" or "fr"."""
        return defect(self.defect, language, self.figure)
