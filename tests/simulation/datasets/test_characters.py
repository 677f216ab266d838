"""Speeches become sequences of characters, and an LSTM learns from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fedlang as fl
from fedlang.data import ClientData, load
from fedlang.data.characters import (
    BEGIN,
    CHARACTERS,
    END,
    OTHER,
    PADDING,
    SIZE,
    character_sequences,
    decode,
    encode,
    sequences,
)
from fedlang.data.partition import field
from fedlang.diagnostics import DiagnosticError

LSTM = Path(__file__).parents[3] / "examples" / "lstm.fed"


def test_the_vocabulary_is_that_of_tensorflow_federated_s_models() -> None:
    assert (len(CHARACTERS), len(set(CHARACTERS)), SIZE) == (86, 86, 90)
    assert (PADDING, OTHER, BEGIN, END) == (0, 87, 88, 89)
    assert encode("dhé\r").tolist() == [1, 2, OTHER, 86]
    assert decode([BEGIN, *encode("To be"), END, PADDING, OTHER]) == "To be\N{REPLACEMENT CHARACTER}"


def test_sequences_are_the_client_s_text_from_begin_to_end() -> None:
    cut = sequences(["To be,", "or not"], length=4)
    assert (cut["tokens"].shape, cut["tokens"].dtype) == ((3, 4), np.int32)
    np.testing.assert_array_equal(cut["tokens"][:, 1:], cut["next"][:, :-1])
    whole = [BEGIN, *encode("To be,"), END, BEGIN, *encode("or not"), END]
    assert [*cut["tokens"][0], cut["next"][0, -1]] == whole[:5]
    assert [*cut["tokens"][2], cut["next"][2, -1]] == whole[10:15]


def test_a_text_too_short_for_a_sequence_is_padded() -> None:
    cut = sequences(["O"], length=4)
    assert cut["tokens"].tolist() == [[BEGIN, *encode("O"), END, PADDING]]
    assert cut["next"].tolist() == [[*encode("O"), END, PADDING, PADDING]]
    assert sequences([], length=4)["tokens"].shape == (0, 4)


def test_each_client_has_its_own_text() -> None:
    plays = load("shakespeare")
    role = "TWELFTH_NIGHT_SIR_TOBY"
    data = character_sequences(plays.train, 40)
    text = "".join(field(plays.train.examples(role), "snippets"))
    found = "".join(decode([*row, end]) for row, end in zip(
        field(data.examples(role), "tokens"), field(data.examples(role), "next")[:, -1], strict=True
    ))  # fmt: skip
    assert len(found) > 5000
    assert text.startswith(found)
    assert min(data.count(client) for client in data) >= 1


def test_every_character_of_the_sample_is_in_the_vocabulary() -> None:
    for part in (load("shakespeare").train, load("shakespeare").test):
        assert set("".join(field(part.concatenate(), "snippets"))) <= set(CHARACTERS)


def test_what_is_wrong_is_told() -> None:
    data = ClientData.from_dict({"a": {"text": ["To be"]}})
    with pytest.raises(DiagnosticError, match=r"FED0709(.|\n)*the length of a sequence is 0"):
        character_sequences(data, 0)
    with pytest.raises(DiagnosticError, match=r"FED0710(.|\n)*`snippets`"):
        character_sequences(data).examples("a")


@pytest.mark.parametrize("executor", ["reference", "threaded", "batched"])
def test_an_lstm_learns_from_it(executor: str) -> None:
    process = fl.load(LSTM).shakespeare
    roles = character_sequences(load("shakespeare").train.subset(("TWELFTH_NIGHT_SIR_TOBY", "AS_YOU_LIKE_IT_CELIA")))
    data = roles.map(lambda role: {name: field(role, name)[:6] for name in ("tokens", "next")})
    state, losses = process.initialize(1), list[float]()
    with fl.executor(executor):
        for _ in range(2):
            result = process.next(state, data.batches(3, epochs=2))
            state = result["state"]
            losses.append(float(result["metrics"]["loss"]))
    assert losses[0] < np.log(SIZE)
    assert losses[1] < losses[0] - 0.05
    np.testing.assert_allclose(losses, [4.48056, 4.39382], atol=2e-5)  # as many steps of any LSTM of these weights
