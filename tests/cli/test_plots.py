"""The picture of a run: the right panels, and a file that is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from fedlang.cli.plots import belonging, plot_history

HISTORY = [
    {"loss": 2.3 / step, "examples": 972.0, "test": {"accuracy": 1 - 1 / step, "loss": 2.4 / step}}
    for step in range(1, 9)
]


def test_a_png_is_written_where_it_was_asked_for(tmp_path: Path) -> None:
    path = plot_history(HISTORY, tmp_path / "runs" / "mnist.png", title="mnist")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [each.name for each in path.parent.iterdir()] == ["mnist.png"]


def test_a_picture_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")
    plot_history(HISTORY[:1], str(path))
    assert path.read_bytes()[1:4] == b"PNG"


def test_metrics_find_their_panels() -> None:
    names = ["loss", "examples", "test.accuracy", "test.loss"]
    assert belonging([dict.fromkeys(names)], ("loss",)) == ["loss", "test.loss"]


def test_rounds_without_a_metric_are_gaps(tmp_path: Path) -> None:
    history: list[dict[str, object]] = [{"loss": 1.0}, {}, {"loss": 0.5, "accuracy": 0.9}, {"loss": float("nan")}]
    assert plot_history(history, tmp_path / "a.png").exists()


def test_nothing_to_draw_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no round has a loss"):
        plot_history([{"examples": 3}], tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_older_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")

    def fail(self: Figure, *_: object, **__: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="full"):
        plot_history(HISTORY, path)
    assert (path.read_text(), len(list(tmp_path.iterdir()))) == ("old", 1)
