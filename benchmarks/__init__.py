"""Measures fedlang beside a centralised loop and other simulators; `docs/benchmarks.md` says how to read it."""
