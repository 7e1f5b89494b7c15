"""Running a network with onnxruntime; the one file that imports it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skinmnist.inference.checks import UnreadableError

#: Pictures that are looked at in one go, and numbers of their largest grid: memory does not follow how many
#: there are, and what is worked on stays near the processor.
BATCH_ROWS, BATCH_VALUES = 32, 8_000_000


class Session:
    """A network ready to answer.

    Parameters
    ----------
    content : bytes
        ONNX that `skinmnist.inference.onnx_format.check_filled` has found to be this package's own.
    values : int
        Numbers of the largest grid of one picture.

    Raises
    ------
    UnreadableError
        Where onnxruntime cannot take it.
    """

    def __init__(self, content: bytes, values: int) -> None:
        import onnxruntime

        self._rows = max(1, min(BATCH_ROWS, BATCH_VALUES // values))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # Errors come as exceptions; nothing else is for the user.
        # Threads that wait in a loop cost a third of the time of a processor that others use, too.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no class that all its errors belong to.
            raise UnreadableError(f"onnxruntime cannot take its network ({type(error).__name__})") from None

    def __call__(
        self, pictures: npt.NDArray[np.uint8], numbers: npt.NDArray[np.float32] | None
    ) -> npt.NDArray[np.float64]:
        """Return log-probabilities, shape (n, k), of flat rows and, where it takes them, descriptors."""
        found = []
        for start in range(0, len(pictures), self._rows):
            part = slice(start, start + self._rows)
            inputs = {"pictures": np.ascontiguousarray(pictures[part])}
            if numbers is not None:
                inputs["numbers"] = np.ascontiguousarray(numbers[part])
            found.append(self._session.run(None, inputs)[0])
        return np.concatenate(found).astype(np.float64)
