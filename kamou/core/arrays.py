"""Types of numpy arrays of any shape: floats, integers, masks and codes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]  # True: the element is selected
Codes = npt.NDArray[np.uint8]  # the numbers of an enum's members, such as ``Abstain``
