"""The one error that users meet; it stands at the bottom so that every layer can raise it."""


class InputError(ValueError):
    """Bad input: one sentence that says what was received, what was expected, and how to mend it.

    Doors print it on standard error and exit with 2; from Python it is an ordinary ``ValueError``.
    """
