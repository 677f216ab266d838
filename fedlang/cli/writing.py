"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile

from fedlang.cli.errors import unwritable


def write_whole(path: str, data: bytes) -> None:
    """Writes beside the path and moves there; a file that was there keeps its permissions. Folders are made."""
    path = os.path.realpath(path)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handle, draft = tempfile.mkstemp(prefix=".fed-", dir=os.path.dirname(path))
    except OSError as error:
        raise unwritable(path, error.strerror or "") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(draft, _mode(path))
        os.replace(draft, path)
    except BaseException as error:
        os.unlink(draft)
        if isinstance(error, OSError):
            raise unwritable(path, error.strerror or "") from None
        raise


def _mode(path: str) -> int:
    return os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o644
