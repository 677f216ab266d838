"""The operations of the graph: one row each. `docs/operations.md` says what they mean; a test holds the two together.

A row says how many inputs an operation takes, which attributes it has, how its types must agree (`rule`, the name of a
row in `ir/rules.py`) and its `group`, by which it batches over clients.
"""

from __future__ import annotations

from fedlang.frozen import Frozen

MANY = 1 << 30


class Operation(Frozen):
    """One operation. `least` and `most` count inputs; `optional` attributes may be left out."""

    name: str
    group: str
    least: int
    most: int
    rule: str
    attributes: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def is_effect(self) -> bool:
        """Whether it is kept though nobody reads it."""
        return self.group == "effect"

    @property
    def is_movement(self) -> bool:
        """Whether it moves values between places."""
        return self.group == "movement"


class Movement(Frozen):
    """How a movement moves: each input's place (the last is every further input's), and the result's."""

    name: str
    sources: tuple[str, ...]
    target: str


def _rows(group: str, rule: str, inputs: int, names: str, *attributes: str) -> list[Operation]:
    return [Operation(name, group, inputs, inputs, rule, attributes) for name in names.split()]


WINDOW = ("padding", "size", "strides")
STEPS = ("padding", "strides")

ROWS: tuple[Operation, ...] = (
    *_rows("", "free", 0, "parameter", "index"),
    *_rows("", "constant", 0, "constant", "value"),
    *_rows("", "get", 1, "get", "index"),
    *_rows("index", "index_scalar", 0, "size", "dimension"),
    *_rows("structural", "broadcast", 1, "broadcast", "axes"),
    *_rows("elementwise", "number", 2, "add subtract multiply power maximum minimum floor_divide remainder"),
    *_rows("elementwise", "float", 2, "divide"),
    *_rows("elementwise", "number", 1, "negate abs sign square relu"),
    *_rows("elementwise", "float", 1, "floor ceil round exp expm1 log log1p sqrt rsqrt sin cos tanh sigmoid softplus"),
    *_rows("elementwise", "float", 1, "erf reciprocal"),
    *_rows("elementwise", "compare", 2, "equal not_equal less less_equal greater greater_equal"),
    *_rows("elementwise", "logic", 2, "logical_and logical_or"),
    *_rows("elementwise", "logic", 1, "logical_not"),
    *_rows("elementwise", "float_test", 1, "is_finite is_nan"),
    *_rows("elementwise", "select", 3, "select"),
    *_rows("elementwise", "cast", 1, "cast"),
    *_rows("elementwise", "same", 1, "stop_gradient"),
    *_rows("reduction", "reduce_number", 1, "reduce_sum reduce_max reduce_min reduce_product", "axes"),
    *_rows("reduction", "reduce_logic", 1, "reduce_all reduce_any", "axes"),
    *_rows("reduction", "arg_reduce", 1, "arg_max arg_min", "axis"),
    *_rows("reduction", "number", 1, "cumulative_sum", "axis"),
    *_rows("reduction", "float", 1, "softmax log_softmax"),
    *_rows("reduction", "cross_entropy", 2, "sparse_softmax_cross_entropy"),
    *_rows("structural", "transpose", 1, "transpose", "permutation"),
    *_rows("structural", "reshape", 1, "reshape"),
    *_rows("structural", "same", 1, "reverse", "axis"),
    *_rows("structural", "slice", 1, "slice", "axis", "start", "stop"),
    *_rows("structural", "pad", 1, "pad", "after", "axis", "before"),
    Operation("concat", "structural", 1, MANY, "concat", ("axis",)),
    *_rows("structural", "free", 0, "iota", "axis"),
    *_rows("elementwise", "one_hot", 1, "one_hot"),
    Operation("gather", "gather", 2, 2, "gather", (), ("in_range",)),
    *_rows("gather", "scatter_add", 2, "scatter_add"),
    *_rows("gather", "take_along", 2, "take_along", "axis"),
    *_rows("gather", "put_along", 2, "put_along", "axis"),
    *_rows("reduction", "same", 1, "sort", "axis"),
    *_rows("reduction", "arg_sort", 1, "arg_sort", "axis"),
    *_rows("contraction", "matmul", 2, "matmul", "transpose_a", "transpose_b"),
    *_rows("contraction", "image", 2, "conv2d conv2d_input conv2d_kernel", *STEPS),
    *_rows("structural", "image", 1, "max_pool", *WINDOW),
    *_rows("structural", "image", 3, "max_pool_gradient", *WINDOW),
    *_rows("structural", "image", 1, "average_pool average_pool_gradient", *WINDOW),
    *_rows("elementwise", "random_at", 2, "random_at"),
    *_rows("random", "draw", 1, "random_bits random_uniform random_normal random_permutation"),
    *_rows("sequence", "sequence", 2, "batch take skip repeat shuffle filter"),
    *_rows("sequence", "stack", 1, "stack"),
    *_rows("sequence", "unstack", 1, "unstack"),
    *_rows("sequence", "count_to", 1, "count_to"),
    Operation("map", "sequence", 1, MANY, "map", ("body", "captured")),
    Operation("fold", "control", 1, MANY, "fold", ("body", "captured", "carries", "reverse")),
    Operation("cond", "control", 1, MANY, "cond", ("otherwise", "then")),
    Operation("call", "", 0, MANY, "call", ("body", "name")),
    Operation("gradient", "", 1, MANY, "gradient", ("body", "count", "value")),
    Operation("extern", "extern", 0, MANY, "free", ("handle",), ("batched", "padded")),
    Operation("extern_vjp", "extern", 1, MANY, "free", ("arguments", "handle"), ("batched", "padded")),
    *_rows("string", "free", 2, "hash lookup prefix"),
    Operation("check", "effect", 1, 1, "check", ("message",), ("operation",)),
    Operation("print", "effect", 0, MANY, "effect", ("format",)),
    *_rows("effect", "effect", 1, "probe", "name"),
    Operation("federated_broadcast", "movement", 1, 1, "same", (), ("path",)),
    Operation("federated_keys", "movement", 1, 1, "same", (), ("path",)),
    Operation("federated_sum", "movement", 1, 1, "same", (), ("fast", "path")),
    Operation("federated_min", "movement", 1, 2, "same", (), ("path",)),
    Operation("federated_max", "movement", 1, 2, "same", (), ("path",)),
    Operation("federated_mean", "movement", 2, 3, "mean", (), ("fast", "path")),
    Operation("federated_collect", "movement", 1, 1, "collect", (), ("path",)),
    Operation("federated_secure_sum", "movement", 3, 3, "same", (), ("path",)),
    Operation(
        "federated_aggregate", "movement", 1, MANY, "aggregate",
        ("accumulate", "captured", "merge", "report", "zero"), ("path",),
    ),
    Operation("federated_select", "movement", 2, 2, "select_rows", (), ("path",)),
)  # fmt: skip

OPERATIONS: dict[str, Operation] = {row.name: row for row in ROWS}

MOVEMENTS: dict[str, Movement] = {
    row.name: row
    for row in (
        Movement("federated_broadcast", ("server",), "shared"),
        Movement("federated_keys", ("server",), "clients"),
        Movement("federated_sum", ("clients",), "server"),
        Movement("federated_min", ("clients", "server"), "server"),
        Movement("federated_max", ("clients", "server"), "server"),
        Movement("federated_mean", ("clients", "clients", "server"), "server"),
        Movement("federated_collect", ("clients",), "server"),
        Movement("federated_secure_sum", ("clients", ""), "server"),
        Movement("federated_aggregate", ("clients",), "server"),
        Movement("federated_select", ("clients", "server"), "clients"),
    )
}


def operation_of(name: str) -> Operation:
    """The row of an operation; `KeyError` where there is none."""
    return OPERATIONS[name]
