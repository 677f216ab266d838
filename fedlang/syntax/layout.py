"""Lays text out within a line width: what the printer says may break is broken where it must be.

The algebra is Wadler's ("A prettier printer", 2003) in the strict form of Lindig ("Strictly pretty", 2000), with
one addition: `Soft`, which decides alone whether it starts a new line, so that lists fill their lines.
Nothing here recurses. In: a `Doc`. Out: a string without trailing blanks.
"""

from __future__ import annotations

from fedlang.frozen import Frozen


class Cat(Frozen):
    """Documents one after another. `hard` says that some part always breaks."""

    parts: tuple[Doc, ...]
    hard: bool


class Line(Frozen):
    """A new line if the group around it is broken, else `flat`."""

    flat: str = " "


class Hard(Frozen):
    """Always a new line."""


class Soft(Frozen):
    """A blank and `body`, or a new line and `body` when it does not fit on this one."""

    body: Doc


class Group(Frozen):
    """All on one line if it fits, else all its lines broken."""

    body: Doc


class Nest(Frozen):
    """Lines broken inside are indented by `columns` more."""

    columns: int
    body: Doc


class Align(Frozen):
    """Lines broken inside begin at the column where this begins."""

    body: Doc


Doc = str | Cat | Line | Hard | Soft | Group | Nest | Align
Work = tuple[int, bool, Doc]  # indentation, whether flat, what to lay out

HARD = Hard()
LINE = Line()


def cat(*parts: Doc) -> Cat:
    """`parts` one after another."""
    return Cat(parts, any(is_hard(each) for each in parts))


def is_hard(doc: Doc) -> bool:
    """Whether some line in it always breaks."""
    while isinstance(doc, Soft | Group | Nest | Align):
        doc = doc.body
    return isinstance(doc, Hard) or (isinstance(doc, Cat) and doc.hard)


def joined(separator: Doc, docs: list[Doc]) -> Cat:
    """`docs` with `separator` between them."""
    parts: list[Doc] = []
    for doc in docs:
        parts += [separator, doc] if parts else [doc]
    return cat(*parts)


def layout(doc: Doc, width: int) -> str:
    """The text of `doc` in lines of at most `width` columns where it can be broken."""
    lines = [""]
    work: list[Work] = [(0, False, doc)]
    while work:
        indent, flat, here = work.pop()
        room = width - len(lines[-1])
        match here:
            case str():
                lines[-1] += here
            case Cat(parts):
                work += [(indent, flat, each) for each in reversed(parts)]
            case Line(blank) if flat:
                lines[-1] += blank
            case Line() | Hard():
                lines.append(" " * indent)
            case Nest(columns, body):
                work.append((indent + columns, flat, body))
            case Align(body):
                work.append((len(lines[-1]), flat, body))
            case Group(body):
                work.append((indent, not is_hard(body) and (flat or _fits(room, body, work)), body))
            case Soft(body):
                work.append((indent, flat, body))
                if flat or _fits(room - 1, body, work[:-1]):
                    lines[-1] += " "
                else:
                    lines.append(" " * indent)
    return "\n".join(each.rstrip() for each in lines)


def _fits(room: int, doc: Doc, rest: list[Work]) -> bool:
    """Whether `doc` on one line, and what follows up to the next chance to break, has room."""
    work: list[Work] = [(0, True, doc)]
    following = len(rest)
    while room >= 0:
        if not work:
            if not following:
                return True
            following -= 1
            work.append(rest[following])
        _, flat, here = work.pop()
        match here:
            case str():
                room -= len(here)
            case Cat(parts):
                work += [(0, flat, each) for each in reversed(parts)]
            case Line(blank) if flat:
                room -= len(blank)
            case Soft(body) if flat:
                room -= 1
                work.append((0, True, body))
            case Line() | Hard() | Soft():
                return True
            case Nest(_, body) | Align(body) | Group(body):
                work.append((0, flat, body))
    return False
