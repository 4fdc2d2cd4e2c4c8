"""The error of a training step that cannot be written as a pure function."""


class NoFunctionalForm(ValueError):
    """A training has steps that no pure function of this package computes.

    `cause` is a phrase that names the reason, for the warning of who trains in another way.
    """

    def __init__(self, message: str, cause: str | None = None) -> None:
        super().__init__(message)
        self.cause = cause
