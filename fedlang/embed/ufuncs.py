"""Which operation of the language a function of NumPy is: `np.exp(x)` and `np.ones(3) + x` work on traced values."""

from __future__ import annotations

# fmt: off
OPERATIONS = {
    **{name: name for name in (
        "add", "subtract", "multiply", "divide", "floor_divide", "remainder", "matmul",
        "sign", "floor", "ceil", "exp", "expm1", "log", "log1p", "sqrt", "square", "reciprocal", "sin", "cos", "tanh",
        "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
        "logical_and", "logical_or", "logical_not",
    )},
    "absolute": "abs", "isnan": "is_nan", "maximum": "max", "minimum": "min", "negative": "negate", "power": "pow",
    "rint": "round",
}
# fmt: on
