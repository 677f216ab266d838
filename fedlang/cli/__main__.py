"""`python -m fedlang.cli`: the command line where no script is installed."""

from __future__ import annotations

import sys

from fedlang.cli import main

sys.exit(main())
