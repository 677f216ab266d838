"""The generator against Random123's known answers and TensorFlow's raw operations, and the laws of keys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlang.run.random import (
    identity_of,
    key_of_seed,
    philox,
    random_at,
    random_bits,
    random_normal,
    random_permutation,
    random_uniform,
    stream,
    words_at,
)

KNOWN = [
    ((0, 0), (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 4, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0xA4093822, 0x299F31D0),
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("key", "counter", "words"), KNOWN)
def test_philox_gives_the_known_answers_of_random123(key, counter, words):
    assert tuple(int(word) for word in philox(key, counter)) == words


def test_bits_uniforms_and_derived_keys_equal_tensorflow():
    import tensorflow as tf

    key = np.array([0x89ABCDEF, 0x01234567], np.uint32)
    packed = tf.constant([0x0123456789ABCDEF], tf.uint64)

    def raw(count: int, counter: tuple[int, int], dtype: tf.DType) -> np.ndarray:
        counter = tf.constant(counter, tf.uint64)
        if dtype.is_integer:
            op = tf.raw_ops.StatelessRandomUniformFullIntV2
        else:
            op = tf.raw_ops.StatelessRandomUniformV2
        return op(shape=[count], key=packed, counter=counter, alg=1, dtype=dtype).numpy()

    assert np.array_equal(random_bits(key, (37,)), raw(37, (0, 0), tf.uint32))
    assert np.array_equal(random_at(key, 2**40 + 5), raw(2, (2**40 + 5, 1 << 32), tf.uint32))
    assert np.array_equal(random_at(key, -1), raw(2, (2**64 - 1, 1 << 32), tf.uint32))
    for dtype in ("float32", "float64", "float16", "bfloat16"):
        assert np.array_equal(random_uniform(key, (41,), dtype), raw(41, (0, 0), tf.as_dtype(dtype))), dtype


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4), st.integers(0, 13))
@settings(max_examples=40, deadline=None)
def test_several_keys_at_once_draw_what_each_draws_alone(seeds, count):
    keys = np.stack([key_of_seed(seed) for seed in seeds])
    assert np.array_equal(random_at(keys, 7), np.stack([random_at(key, 7) for key in keys]))
    for draw in (random_bits, random_uniform, random_normal):
        assert np.array_equal(draw(keys, (count,)), np.stack([draw(key, (count,)) for key in keys]))
    assert np.array_equal(random_permutation(keys, count), np.stack([random_permutation(key, count) for key in keys]))


def test_words_at_reads_the_stream_anywhere():
    key = key_of_seed(3)
    places = np.array([[0, 5, 9], [22, 1, 3]])
    assert np.array_equal(words_at(key, places), stream(key, 30)[places])


@given(st.integers(0, 40))
@settings(max_examples=20, deadline=None)
def test_draws_do_not_depend_on_how_many_follow(count):
    key = key_of_seed(11)
    for draw in (random_bits, random_uniform, random_normal):
        assert np.array_equal(draw(key, (count,)), draw(key, (50,))[:count])


def test_a_permutation_has_every_index_once():
    assert sorted(random_permutation(key_of_seed(0), 1000).tolist()) == list(range(1000))
    assert random_permutation(key_of_seed(0), 0).shape == (0,)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_draws_have_the_distribution_they_name(dtype):
    uniform = random_uniform(key_of_seed(1), (200, 500), dtype).astype(np.float64)
    assert 0 <= uniform.min() <= uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.01
    normal = random_normal(key_of_seed(2), (200, 500), dtype).astype(np.float64)
    moments = [(normal**k).mean() for k in (1, 2, 3, 4)]
    assert np.allclose(moments, [0, 1, 0, 3], atol=0.1)


def test_a_client_is_known_by_its_id_alone():
    assert identity_of("7") == identity_of(7) != identity_of("07")
    assert identity_of("client") == np.uint64(0x186E09631AED3962)


def test_a_seed_has_64_bits():
    assert not np.array_equal(key_of_seed(0), key_of_seed(1))
    with pytest.raises(ValueError, match="64 bits"):
        key_of_seed(2**64)
