"""Finds modules: beside the root file, then in the library that ships, then in what installed packages offer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fedlang.source import Source
from fedlang.syntax.read import read_source

ENTRY_POINTS = "fedlang.libraries"


def library_folder() -> Path:
    """The folder of the library: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "stdlib"
    return inside if inside.is_dir() else package.parent / "stdlib"


class Modules:
    """Looks modules up for one root file. `root` is the folder it lies in."""

    def __init__(self, root: Path | None = None) -> None:
        self._folders = [*([root] if root is not None else []), library_folder()]

    def find(self, module: str) -> tuple[Source, ...]:
        """The sources of a module:

        one file, or for "prelude" every file of its folder; none where there is no such module.
        """
        if module == "prelude":
            return tuple(read_source(path) for path in sorted((library_folder() / "prelude").glob("*.fed")))
        for folder in [*self._folders, *self._installed(module)]:
            path = folder.joinpath(*module.split(".")).with_suffix(".fed")
            if path.is_file():
                return (read_source(path),)
        return ()

    def _installed(self, module: str) -> Iterable[Path]:
        """Folders of other packages; they are asked for by the first word of the module."""
        if any((folder / module.split(".")[0]).exists() for folder in self._folders):
            return
        from importlib.metadata import entry_points  # slow, and rarely needed

        for entry in entry_points(group=ENTRY_POINTS, name=module.split(".")[0]):
            yield Path(str(entry.load()))

    def module_names(self) -> list[str]:
        """Every module that can be found, for suggestions."""
        found = []
        for folder in self._folders:
            for path in sorted(folder.glob("*.fed")) + sorted(folder.glob("*/*.fed")):
                found.append(".".join(path.relative_to(folder).with_suffix("").parts))
        return found
