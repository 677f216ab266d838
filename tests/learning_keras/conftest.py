"""Keras as the tests use it: quiet, and with the same first weights each time."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    import keras

    keras.utils.set_random_seed(7)
