"""Benchmarks: ratios to a limit measured in the same run, and what faults cost a listener."""
