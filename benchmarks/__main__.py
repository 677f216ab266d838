"""`python -m benchmarks`: rounds by number of clients (see also `workloads.py`)."""

from benchmarks.rounds import main

main()
