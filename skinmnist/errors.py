"""The error for bad input; every layer can raise it."""

from skinmnist.text import printable


class InputError(ValueError):
    """Bad input: one sentence that says what was received, what was expected, and how to fix it.

    Commands print it on standard error and exit with 2; from Python it is an ordinary ``ValueError``. What
    the sentence quotes is made printable.
    """

    def __init__(self, sentence: object) -> None:
        super().__init__(printable(sentence))
