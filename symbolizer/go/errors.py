"""The one error of this package."""


class GoError(ValueError):
    """A Go binary is damaged or of a kind that is not supported; the text is a sentence."""
