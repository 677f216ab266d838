"""How large a program's text may be. Later stages recurse over trees, so the depth of one is bounded here."""

LONGEST_FILE = 10_000_000  # characters
DEEPEST_BRACKETS = 200
DEEPEST_TREE = 1_200  # brackets and a chain of 1,000 operations
LONGEST_INTEGER = 100  # digits
