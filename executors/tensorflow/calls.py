"""A TensorFlow program of one signature, called with little around it.

On a CPU it is called through a session, for two reasons. `tf.function` looks at the type of every argument again at
each call, in Python. And its operations go from thread to thread as they become ready, which takes longer than a small
operation does: a session can run them all in the thread that calls, so that chunks on several threads share nothing.
A program that holds resources of TensorFlow's own (a model's variables), or that may run on a GPU, is called as a
function.

The operations are the same in both ways, and in one thread or many: bits do not depend on it. Inside an operation
there is one thread, also where TensorFlow was started with more, as it is when a Keras model is built first
(`fedlang/__init__.py` sees to it). Nor does TensorFlow rewrite arithmetic, as it does otherwise: it takes `a / 3` for
`a * (1 / 3)`, `1 / a` for an approximation, `(a + b) - b` for `a` where it knows `b`, and adds and multiplies in the
order that suits it. Only programs that hold a model's own operations are left to it: Keras writes them to be rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any
from weakref import finalize

from numpy.typing import NDArray
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2

from .memory import host
from .start import has_gpu, tf

_OFF = rewriter_config_pb2.RewriterConfig.OFF
_IN_THE_CALLER = -1  # a thread pool's number; TensorFlow's word for none


def _config(*, as_written: bool, **options: Any) -> config_pb2.ConfigProto:
    """The session's, or a call's."""
    config = config_pb2.ConfigProto(**options)
    if as_written:
        rewrites = config.graph_options.rewrite_options
        rewrites.constant_folding = rewrites.arithmetic_optimization = _OFF
    return config


class Traced:
    """A Python function over tensors as one TensorFlow program; traced when it is first called.

    `as_written`: its arithmetic is not rewritten.
    """

    def __init__(self, function: Callable[..., Any], signature: Sequence[Any], *, as_written: bool = True) -> None:
        def shaped(*feeds: Any) -> Any:  # a session takes feeds of any shape, and knows of them what is said here
            known = [tf.ensure_shape(feed, spec.shape) for feed, spec in zip(feeds, signature, strict=True)]
            return function(*known)

        self._function = tf.function(shaped, input_signature=list(signature), autograph=False)
        self._as_written = as_written
        self._lock = Lock()
        self._program: Any = None
        self._session: Any = None
        self._calls: dict[bool, Callable[..., list[Any]]] = {}  # by `spread`

    def traces(self) -> int:
        """How often it was traced."""
        return int(self._function.experimental_get_tracing_count())

    def __call__(self, *feeds: Any, spread: bool) -> list[NDArray[Any]]:
        """The outputs, an array each, which may lie where a feed or a constant does: nobody may write to them. Feeds
        are tensors or arrays of the signature's dtypes; any thread may call.

        `spread`: operations may run beside each other, on threads of TensorFlow's; else all run in the thread that
        calls, which is faster where other threads have work of their own.
        """
        call = self._calls.get(spread) or self._made(spread)
        return call(*feeds)

    def _made(self, spread: bool) -> Callable[..., list[NDArray[Any]]]:
        with self._lock:
            if self._program is None:
                self._program = self._function.get_concrete_function()
            if spread not in self._calls:
                self._calls[spread] = self._in_session(spread) if self._suits_session() else self._as_function()
            return self._calls[spread]

    def _suits_session(self) -> bool:
        held = {each.dtype for each in self._program.captured_inputs}
        return hasattr(tf.compat.v1.Session, "_make_callable_from_options") and not (
            has_gpu() or held & {tf.resource, tf.variant}
        )

    def _as_function(self) -> Callable[..., list[NDArray[Any]]]:
        program, dtypes = self._program, [each.dtype for each in self._program.outputs]
        config = _config(as_written=self._as_written).SerializeToString()

        def call(*feeds: Any) -> list[NDArray[Any]]:
            given = [*map(tf.convert_to_tensor, feeds), *program.captured_inputs]
            found = tf.raw_ops.StatefulPartitionedCall(args=given, Tout=dtypes, f=program, config_proto=config)
            return [host(each) for each in found]

        return call

    def _in_session(self, spread: bool) -> Callable[..., list[NDArray[Any]]]:
        graph, held = self._program.graph, [host(each) for each in self._program.captured_inputs]
        if self._session is None:
            config = _config(as_written=self._as_written, device_count={"GPU": 0}, intra_op_parallelism_threads=1)
            self._session = tf.compat.v1.Session(graph=graph, config=config)
            finalize(self, self._session.close)  # at the end of Python too, while TensorFlow is there
        options = config_pb2.CallableOptions(
            feed=[tensor.name for tensor in graph.inputs],
            fetch=[tensor.name for tensor in graph.outputs],
            target=[operation.name for operation in graph.control_outputs],
            run_options=config_pb2.RunOptions(inter_op_thread_pool=0 if spread else _IN_THE_CALLER),
        )
        run = self._session._make_callable_from_options(options)

        def call(*feeds: Any) -> list[NDArray[Any]]:
            found: list[NDArray[Any]] = run(*map(host, feeds), *held)
            return found

        return call
