"""Ratios of times and memory, measured side by side in one run: `python -m benchmarks.harness --help`."""
