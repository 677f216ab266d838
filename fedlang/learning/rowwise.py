"""Whether a Keras model can be called for several clients at once, found by walking its layers.

Each layer has to treat each example of a batch alone: then rows that are put behind a short batch change nothing of
what the others give, so that clients with batches of different sizes can be computed together. A layer that is not in
the table may do anything. Layers that TensorFlow is known not to vectorise are named here, so that it is not tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fedlang.learning.objectives import is_of_keras

ALONE = frozenset(
    {
        *("InputLayer", "Identity", "Dense", "EinsumDense", "Embedding", "Activation", "Rescaling", "Normalization"),
        *("ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax"),
        *("Flatten", "Reshape", "Permute", "RepeatVector", "Dropout"),
        *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"),
        *("LayerNormalization", "RMSNormalization", "GroupNormalization"),
        *("Cropping1D", "Cropping2D", "Cropping3D", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"),
        *("UpSampling1D", "UpSampling2D", "UpSampling3D"),
        *(f"{kind}Pooling{n}D" for kind in ("Average", "Max", "GlobalAverage", "GlobalMax") for n in (1, 2, 3)),
        *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"),
        *("MultiHeadAttention", "Attention", "AdditiveAttention"),
    }
)
CONVOLUTIONS = frozenset(
    ["Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"]
)
"""Layers that TensorFlow vectorises only with a kernel that all clients share, as they do where they do not train."""

UNROLLED = frozenset(["LSTM", "GRU", "SimpleRNN"])
"""Layers whose loop over time is written out, where they are asked to."""


def mixing(model: Any, *, training: bool) -> str:
    """Which layer stands against it, and why; "" where none does."""
    return next(_mixing(model, training=training), "")


def _mixing(model: Any, *, training: bool) -> Iterator[str]:
    import keras

    if type(model) is keras.Sequential:
        parts = model.layers
    elif type(model).__name__ == "Functional" and is_of_keras(type(model)):
        parts = model.operations
    else:
        yield f"what the model `{model.name}` does with a batch is not known"
        return
    for part in parts:
        if isinstance(part, keras.Model):
            yield from _mixing(part, training=training)
        elif reason := _reason(part, training=training):
            yield f"{reason} (`{part.name}`)"


def _reason(layer: Any, *, training: bool) -> str:
    import keras

    kind = type(layer).__name__
    known = type(layer) is getattr(keras.layers, kind, None)
    if known and kind == "BatchNormalization":
        return "`BatchNormalization` mixes the examples of a batch" if training and layer.trainable else ""
    if known and kind in UNROLLED and not layer.stateful:
        return "" if layer.unroll else f"`{kind}` loops over time"
    if known and kind in CONVOLUTIONS and training:
        return f"`{kind}` has a kernel of its own at each client"
    if not known or kind not in ALONE | CONVOLUTIONS:
        return f"what `{kind}` does with a batch is not known"
    if getattr(layer, "activity_regularizer", None) is not None:
        return f"`{kind}` has a penalty over the batch"
    if getattr(layer, "mask_zero", False):
        return f"`{kind}` masks"
    if getattr(layer, "noise_shape", None) is not None or _has_first(getattr(layer, "axis", None)):
        return f"`{kind}` goes along the axis of the batch"
    activation = getattr(layer, "activation", None)
    if activation is not None and not is_of_keras(activation):
        return f"what the activation of `{kind}` does with a batch is not known"
    return ""


def _has_first(axis: Any) -> bool:
    axes = axis if isinstance(axis, list | tuple) else [axis]
    return 0 in [each for each in axes if each is not None]
