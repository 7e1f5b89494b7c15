"""The one error that users meet; it stands at the bottom so that every layer can raise it."""

from skinmnist.text import printable


class InputError(ValueError):
    """Bad input: one sentence that says what was received, what was expected, and how to mend it.

    Doors print it on standard error and exit with 2; from Python it is an ordinary ``ValueError``. Whatever
    the sentence quotes, it can be printed.
    """

    def __init__(self, sentence: object) -> None:
        super().__init__(printable(sentence))
