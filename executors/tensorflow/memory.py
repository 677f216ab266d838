"""Memory that NumPy and TensorFlow share: neither copies what starts where TensorFlow wants memory to start."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .start import has_gpu, tf

_ALIGNED = 64  # bytes
_LARGE = 1 << 10  # bytes of rows that are worth not to be copied
_SMALL = 1 << 12  # bytes that are copied as fast as they are looked at
_UNREADABLE = (tf.bfloat16, tf.string)  # dtypes of tensors whose memory Python does not read


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that TensorFlow need not copy."""
    count = int(np.prod(shape)) * dtype.itemsize
    room = np.zeros(count + _ALIGNED, np.uint8)
    offset = -room.ctypes.data % _ALIGNED
    return room[offset : offset + count].view(dtype).reshape(shape)


def is_read_in_place(row: int) -> bool:
    """Whether an operation that takes rows of so many bytes, which follow each other, out of a table reads them where
    they lie, and gains from it."""
    return not has_gpu() and row >= _LARGE and row % _ALIGNED == 0


def feed_of(array: NDArray[Any]) -> Any:
    """The values as a feed for several calls: they are copied at most once."""
    if has_gpu():
        return tf.convert_to_tensor(array)
    if array.flags.c_contiguous and (array.nbytes < _SMALL or not array.ctypes.data % _ALIGNED):
        return array
    found = zeros(array.shape, array.dtype)
    found[...] = array
    return found


def copied(array: NDArray[Any]) -> Any:
    """The values as a tensor with memory of its own, where TensorFlow computes."""
    with tf.device("/GPU:0" if has_gpu() else "/CPU:0"):
        return tf.identity(tf.constant(array))


def with_rows(tensor: Any, numbers: NDArray[np.int32], rows: NDArray[Any]) -> Any:
    """Another tensor beside it, with these rows in the place of those of these numbers."""
    with tf.device(tensor.device):
        return tf.tensor_scatter_nd_update(tensor, numbers[:, None], rows)


def host(value: Any) -> NDArray[Any]:
    """A tensor's values, without a copy where its memory can be read; an array as it is."""
    if isinstance(value, np.ndarray):
        return value
    return np.asarray(memoryview(value)) if value.dtype not in _UNREADABLE else value.numpy()
