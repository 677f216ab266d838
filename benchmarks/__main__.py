"""`python -m benchmarks`: every benchmark, one table after the other."""

from benchmarks.rounds import main

main()
