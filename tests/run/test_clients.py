"""Client data: ids, order, and reading only when asked."""

from __future__ import annotations

import pytest

from fedlang.diagnostics import DiagnosticError
from fedlang.run.clients import ClientData, ReadClients, chosen, clients_of, in_order


def test_lists_and_mappings_are_client_data():
    listed = clients_of([10, 20])
    assert isinstance(listed, ClientData)
    assert (list(listed.client_ids), listed.client("1")) == (["0", "1"], 20)
    mapped = clients_of({"ann": 1, 7: 2})
    assert (list(mapped.client_ids), mapped.client("7")) == (["ann", "7"], 2)
    assert clients_of(mapped) is mapped


def test_whole_numbers_come_first_and_by_value():
    assert in_order(["b", "10", "9", "a", "02"]) == ("02", "9", "10", "a", "b")
    with pytest.raises(DiagnosticError, match="FED0620"):
        in_order(["a", "b", "a"])


@pytest.mark.parametrize(
    ("known", "asked", "expected"),
    [
        (["client_07", "client_12"], "client_7", "did you mean `client_07`"),
        (["anna", "bert"], "ANNA", "did you mean `anna`?"),
        (["anna", "bert"], "zoe", "the ids are `anna`, `bert`"),
        (["a1", "b2", "c3", "d4"], "writer", "the ids are `a1`, `b2`, `c3`, …"),
    ],
)
def test_an_unknown_client_is_offered_what_there_is(known: list[str], asked: str, expected: str) -> None:
    with pytest.raises(DiagnosticError) as caught:
        chosen(ReadClients(tuple(known), str.upper), [asked])
    assert expected in str(caught.value)


def test_data_is_read_when_it_is_asked_for():
    read = []
    data = ReadClients(("a", "b"), lambda client: read.append(client) or client.upper())
    cohort = chosen(data, ["b"])
    assert read == []
    assert (list(cohort.client_ids), cohort.client("b"), read) == (["b"], "B", ["b"])
    with pytest.raises(DiagnosticError, match="FED0618"):
        chosen(data, ["c"])
    with pytest.raises(DiagnosticError, match="FED0618"):
        clients_of({"a": 1}).client("c")
