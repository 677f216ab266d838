"""`tf.train.Example` messages without TensorFlow: bytes to features by name, and back.

A message maps names to lists of bytes, of float32 or of int64; it keeps no shapes. The messages are declared here a
second time, in a pool of their own, so that TensorFlow's may be loaded in the same process. Needs protobuf, of the
extra `data`. Source: tensorflow/core/example/feature.proto.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fedlang.data.errors import missing_library
from fedlang.run.sequences import Array

LISTS = ("bytes_list", "float_list", "int64_list")


def parse_example(message: bytes) -> dict[str, Array]:
    """The features in the order of their names, each a vector: object (of bytes), float32 or int64.

    `ValueError` for bytes that are no such message.
    """
    example = _example_class()()
    try:
        example.ParseFromString(message)
    except Exception as error:
        if type(error).__name__ != "DecodeError":
            raise
        raise ValueError("an example is no `tf.train.Example` message") from None
    feature = example.features.feature
    return {name: _vector(feature[name]) for name in sorted(feature)}


def _vector(feature: Any) -> Array:
    match feature.WhichOneof("kind"):
        case "float_list":
            return np.array(feature.float_list.value, np.float32)
        case "int64_list":
            return np.array(feature.int64_list.value, np.int64)
        case _:
            vector = np.empty(len(feature.bytes_list.value), object)
            vector[:] = list(feature.bytes_list.value)
            return vector


def print_example(features: dict[str, Array]) -> bytes:
    """The message of one example; equal features give equal bytes. Numbers are made int64 or float32."""
    example = _example_class()()
    for name, array in features.items():
        feature = example.features.feature[name]
        if array.dtype == object:
            feature.bytes_list.value.extend(str(text).encode() for text in array.ravel())
        elif array.dtype.kind == "f":
            feature.float_list.value.extend(array.ravel().tolist())
        else:
            feature.int64_list.value.extend(array.ravel().astype(np.int64).tolist())
    return bytes(example.SerializeToString(deterministic=True))


@cache
def _example_class() -> Any:
    """The class of `Example` messages."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError:
        raise missing_library("protobuf", "data") from None
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_declaration(descriptor_pb2))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("fedlang.Example"))


def _declaration(pb: Any) -> Any:
    kinds = pb.FieldDescriptorProto
    file = pb.FileDescriptorProto(name="fedlang/example.proto", package="fedlang", syntax="proto3")
    for name, kind in zip(LISTS, (kinds.TYPE_BYTES, kinds.TYPE_FLOAT, kinds.TYPE_INT64), strict=True):
        file.message_type.add(name=name).field.add(name="value", number=1, type=kind, label=kinds.LABEL_REPEATED)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(LISTS, start=1):
        feature.field.add(
            name=name, number=number, type=kinds.TYPE_MESSAGE, type_name=f".fedlang.{name}", oneof_index=0,
            label=kinds.LABEL_OPTIONAL,
        )  # fmt: skip
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    entry.field.add(
        name="value", number=2, type=kinds.TYPE_MESSAGE, type_name=".fedlang.Feature", label=kinds.LABEL_OPTIONAL
    )
    features.field.add(
        name="feature", number=1, type=kinds.TYPE_MESSAGE, type_name=".fedlang.Features.FeatureEntry",
        label=kinds.LABEL_REPEATED,
    )  # fmt: skip
    file.message_type.add(name="Example").field.add(
        name="features", number=1, type=kinds.TYPE_MESSAGE, type_name=".fedlang.Features", label=kinds.LABEL_OPTIONAL
    )
    return file
