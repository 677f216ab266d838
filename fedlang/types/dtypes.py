"""The element types of tensors, and what is known of each."""

from __future__ import annotations

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "bfloat16", "float32", "float64")
DTYPES = ("bool", *INTEGERS, *FLOATS, "string", "Key")

BYTES = {
    "bool": 1,
    **{name: int(name.lstrip("uint")) // 8 for name in INTEGERS},
    "float16": 2,
    "bfloat16": 2,
    "float32": 4,
    "float64": 8,
    "string": 16,
    "Key": 8,
}

# What a bound allows each leaf to be. Upper case speaks of every leaf of a structure, lower case of one tensor's dtype.
BOUNDS: dict[str, tuple[str, ...]] = {
    "Float": FLOATS,
    "Int": INTEGERS,
    "Number": (*INTEGERS, *FLOATS),
    "float": FLOATS,
    "int": INTEGERS,
    "number": (*INTEGERS, *FLOATS),
    "scalar": DTYPES,
}


def integer_range(dtype: str) -> tuple[int, int]:
    """The least and the greatest value of an integer dtype."""
    bits = BYTES[dtype] * 8
    return (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
