"""What a machine can do, in a few figures."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

NEAR, FAR = 128 << 10, 32 << 20  # bytes for which `near` and `far` are measured


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one core: seconds for a call, numbers a second, bytes a second. And how it is where all cores work."""

    call: float  # an operation in a loop of a graph
    step: float  # a step of the loop over a client's batches, beside its operations
    product_call: float  # a matrix product or a convolution there
    product: float  # multiplications and additions in matrix products
    convolution: float  # and in convolutions
    hard: float  # exponentials
    near: float  # memory that is small enough to stay near the processor
    far: float  # memory that is not
    crowd: float  # how many times as long work takes while all other cores work, too

    def bandwidth(self, touched: float) -> float:
        """Bytes a second where `touched` bytes are gone over again and again: from `near` to `far` by the logarithm."""
        if touched <= NEAR:
            return self.near
        if touched >= FAR:
            return self.far
        share = log2(touched / NEAR) / log2(FAR / NEAR)
        return float(self.near ** (1 - share) * self.far**share)


# A virtual machine with two cores of a Xeon of 2023, TensorFlow 2.21.
FIXED = Figures(
    call=8.0e-7,
    step=6.0e-5,
    product_call=9.0e-6,
    product=8.0e10,
    convolution=5.5e10,
    hard=1.5e9,
    near=8.0e10,
    far=3.5e10,
    crowd=1.2,
)
