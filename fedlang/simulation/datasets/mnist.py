"""The MNIST sample that comes with fedlang, in the form of federated EMNIST: for programs written for the latter.

MNIST names no writers: the 64 clients are made up (`fedlang.data.samples` says how), so the numbers of a run are not
those of federated EMNIST. By Yann LeCun, Corinna Cortes and Christopher J. C. Burges, under CC BY-SA 3.0.
"""

from __future__ import annotations

import numpy as np

from fedlang.data.clients import ClientData
from fedlang.data.partition import field
from fedlang.data.samples import load
from fedlang.data.trees import Examples


def load_data() -> tuple[ClientData, ClientData]:
    """Training and test digits of the same 64 clients: 5,672 and 676; 972 and 116 of them with the first ten.

    Elements are `{label: int32, pixels: float32[28, 28]}`; as in EMNIST the paper is 1.0 and the ink 0.0.
    """
    digits = load("mnist", pixels=True)
    return digits.train.map(_as_emnist), digits.test.map(_as_emnist)


def _as_emnist(examples: Examples) -> Examples:
    ink = field(examples, "pixels").astype(np.float32) / np.float32(255)
    return {"label": field(examples, "y"), "pixels": np.float32(1) - ink}
