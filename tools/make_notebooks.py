"""Makes the notebooks of `examples/` from their scripts, runs them, and keeps their outputs.

    python tools/make_notebooks.py            # write
    python tools/make_notebooks.py --check    # say whether the cells are those of the script, without running

The script is what people edit: text in the percent format, which reads and differs like any other code.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SCRIPTS = (ROOT / "examples" / "image_classification.py",)
SECONDS = 300


def notebook_of(script: Path) -> Any:
    """The notebook of a script, without outputs; cells have the same ids each time."""
    import jupytext

    notebook = jupytext.read(script)
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.metadata = {}
    return notebook


def run(notebook: Any, folder: Path) -> Any:
    """The notebook with outputs, less what libraries log. Raises `CellExecutionError` where a cell fails."""
    from nbclient import NotebookClient

    place = {"metadata": {"path": str(folder)}}
    done = NotebookClient(notebook, timeout=SECONDS, resources=place, coalesce_streams=True).execute()
    for cell in done.cells:
        cell.metadata = {}
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return done


def write(script: Path) -> None:
    """Writes the notebook beside its script."""
    import nbformat

    nbformat.write(run(notebook_of(script), script.parent), script.with_suffix(".ipynb"))


def is_current(script: Path) -> bool:
    """Whether the notebook beside a script has its cells."""
    import nbformat

    kept = nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    return [cell.source for cell in kept.cells] == [cell.source for cell in notebook_of(script).cells]


def main(arguments: list[str]) -> int:
    """0, or 1 where `--check` finds a notebook that is not its script's."""
    if "--check" in arguments:
        stale = [script for script in SCRIPTS if not is_current(script)]
        for script in stale:
            print(f"{script.name}: the notebook has other cells; run `python tools/make_notebooks.py`", file=sys.stderr)
        return 1 if stale else 0
    for script in SCRIPTS:
        write(script)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
