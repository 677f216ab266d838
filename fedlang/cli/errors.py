"""The mistakes that the command line finds. Codes FED09xx; each function gives the exception to raise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fedlang.diagnostics import Diagnostic, DiagnosticError, Label
from fedlang.names.nearest import nearest
from fedlang.source import Span

SAID = 8  # lines of what a Python file raised that are shown below the first


def _error(code: str, title: str, *notes: str, hint: str = "") -> DiagnosticError:
    return DiagnosticError(Diagnostic(code, title, notes=notes, hint=hint))


def bad_target(target: str) -> DiagnosticError:
    """Something that is no `FILE:NAME`."""
    return _error("FED0901", f"`{target}` names nothing", hint="write FILE, FILE:NAME or FILE:NAME.METHOD")


def no_choice(path: str, kind: str, known: Sequence[str], hint: str = "") -> DiagnosticError:
    """A file with several things that could be meant, or none."""
    if not known:
        return _error("FED0902", f"{path} declares no {kind}", hint=hint)
    note = f"it declares {', '.join(f'`{name}`' for name in known)}"
    return _error("FED0902", f"{path} declares more than one {kind}", note, hint=f"say which: `{path}:{known[0]}`")


def wrong_kind(name: str, kind: str, hint: str) -> DiagnosticError:
    """A name that means something else."""
    return _error("FED0903", f"`{name}` is no {kind}", hint=hint)


def bad_setting(text: str) -> DiagnosticError:
    """A `--set` without an equals sign."""
    return _error("FED0904", f"`{text}` sets nothing", hint="write `--set NAME=VALUE`")


def unreadable_argument(path: str, reason: str) -> DiagnosticError:
    """An argument `@FILE` that cannot be read."""
    return _error("FED0905", f"the argument @{path} cannot be read: {reason}", hint="use a .npy, .npz or .json file")


def data_does_not_fit(name: str, wanted: str, reason: str) -> DiagnosticError:
    """Data that is not what the process takes."""
    return _error("FED0906", f"the data `{name}` does not fit the program", f"the program takes {wanted}", reason)


def bad_evaluation(name: str, reason: str) -> DiagnosticError:
    """A function that cannot evaluate what is trained."""
    hint = "write `fed accuracy(weights: Weights@SERVER, data: <Example[?]*>@CLIENTS) -> float32@SERVER`"
    return _error("FED0907", f"`{name}` cannot evaluate this process", reason, hint=hint)


def no_checkpoint(folder: str) -> DiagnosticError:
    """`--resume` where there is nothing to resume from."""
    return _error("FED0908", f"there is no checkpoint in {folder}", hint="leave out `--resume` to begin anew")


def other_checkpoint(folder: str, differences: Iterable[str]) -> DiagnosticError:
    """A checkpoint of other training."""
    hint = "resume with the program and the options of that training, or use another folder"
    return _error("FED0909", f"the checkpoint in {folder} is of other training", *differences, hint=hint)


def checkpoint_is_there(folder: str) -> DiagnosticError:
    """Training that begins anew where a checkpoint would be written over."""
    hint = "go on with `--resume`, or give another folder"
    return _error("FED0917", f"there is a checkpoint in {folder} already", hint=hint)


def unreadable_checkpoint(path: str, reason: str) -> DiagnosticError:
    """A file that is no checkpoint."""
    return _error("FED0910", f"the checkpoint {path} cannot be read: {reason}")


def no_page(code: str, known: Sequence[str]) -> DiagnosticError:
    """A code that nothing has."""
    near = nearest(code, known)
    return _error("FED0911", f"there is no page for `{code}`", hint=f"did you mean {near}?" if near else "")


def missing_package(what: str, package: str, extra: str, labels: tuple[Label, ...] = ()) -> DiagnosticError:
    """Something that an extra of fedlang brings."""
    hint = f"install `fedlang[{extra}]`"
    return DiagnosticError(Diagnostic("FED0912", f"{what} needs {package}, which is not installed", labels, (), hint))


def no_training_data(name: str, known: Sequence[str]) -> DiagnosticError:
    """Training without data."""
    return _error("FED0913", f"`{name}` needs data to train on", hint=f"give `--data {known[0]}`")


def cannot_import(path: str, error: BaseException, labels: tuple[Label, ...]) -> DiagnosticError:
    """A Python file whose own code fails, with what it raises."""
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    first, *more = [line.strip() for line in said.splitlines() if line.strip()] or [""]
    title = f"{path} cannot be imported: {type(error).__name__}{': ' if first else ''}{first}"
    return DiagnosticError(Diagnostic("FED0915", title, labels, tuple(more[:SAID])))


def ends_itself(path: str, labels: tuple[Label, ...]) -> DiagnosticError:
    """A Python file that ends the process while it is imported, as a script does."""
    hint = 'put what only a script does under `if __name__ == "__main__":`'
    return DiagnosticError(Diagnostic("FED0915", f"{path} exits while it is imported", labels, (), hint))


def no_program(name: str, kind: str, hint: str, span: Span | None) -> DiagnosticError:
    """A name of a Python file that is bound to something else."""
    labels = () if span is None else (Label(span, f"it is {kind}"),)
    notes = () if labels else (f"it is {kind}",)
    return DiagnosticError(Diagnostic("FED0903", f"`{name}` is no computation or process", labels, notes, hint))


def not_for_python(command: str, path: str) -> DiagnosticError:
    """A Python file given to a command that reads programs as text."""
    hint = "`fed check`, `fed run`, `fed train` and `fed ir` take Python files"
    return _error("FED0916", f"`fed {command}` reads .fed files, and {path} is Python", hint=hint)


def unwritable(path: str, reason: str) -> DiagnosticError:
    """A file that cannot be written."""
    return _error("FED0914", f"cannot write {path}: {reason}")
