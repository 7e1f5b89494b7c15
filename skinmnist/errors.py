"""The error for invalid input, which every layer can raise."""

from skinmnist.text import printable


class InputError(ValueError):
    """Invalid input, described in one sentence: the received value, the expected value, and how to fix it.

    Commands print the sentence to standard error and exit with code 2; in Python, it is an ordinary
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
