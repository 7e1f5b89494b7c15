"""Running a network with onnxruntime; the one file that imports it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from skinmnist.prediction.checks import UnreadableError

#: Pictures that are looked at in one go, so that memory does not follow how many there are.
BATCH_ROWS = 64


class Session:
    """A network ready to answer.

    Parameters
    ----------
    content : bytes
        ONNX that `skinmnist.prediction.onnx_format.check_filled` has found to be this package's own.

    Raises
    ------
    UnreadableError
        Where onnxruntime cannot take it.
    """

    def __init__(self, content: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # Errors come as exceptions; nothing else is for the user.
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no class that all its errors belong to.
            raise UnreadableError(f"onnxruntime cannot take its network ({type(error).__name__})") from None

    def __call__(
        self, pictures: npt.NDArray[np.uint8], numbers: npt.NDArray[np.float32] | None
    ) -> npt.NDArray[np.float64]:
        """Return log-probabilities, shape (n, k), of flat rows and, where it takes them, descriptors."""
        found = []
        for start in range(0, len(pictures), BATCH_ROWS):
            part = slice(start, start + BATCH_ROWS)
            inputs = {"pictures": np.ascontiguousarray(pictures[part])}
            if numbers is not None:
                inputs["numbers"] = np.ascontiguousarray(numbers[part])
            found.append(self._session.run(None, inputs)[0])
        return np.concatenate(found).astype(np.float64)
