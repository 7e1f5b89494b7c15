"""The error for bad input; every layer can raise it."""

from skinmnist.text import printable


class InputError(ValueError):
    """Bad input: one sentence that says what was received, what was expected, and how to fix it.

    Commands print the sentence on standard error and exit with code 2; in Python it is an ordinary
    ``ValueError``. Unprintable characters in the sentence are escaped.

    Examples
    --------
    >>> from skinmnist import InputError, make_lesions
    >>> try:
    ...     make_lesions(3)
    ... except InputError as error:
    ...     print(error)
    n_samples received 3; expected a whole number of at least 35, 5 pictures for each of the 7 classes
    """

    def __init__(self, sentence: object) -> None:
        super().__init__(printable(sentence))
