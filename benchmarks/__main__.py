"""`python -m benchmarks`: rounds by number of clients. `python -m benchmarks.workloads`: workloads of other simulators."""

from benchmarks.rounds import main

main()
