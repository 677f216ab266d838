"""fedlang, a typed language for federated computation."""

from pathlib import Path

# In a bare checkout `executors`, `stdlib` and `grammar` lie beside the package; installed, they lie inside it.
if (Path(__file__).parent.parent / "grammar").is_dir():
    __path__.append(str(Path(__file__).parent.parent))
