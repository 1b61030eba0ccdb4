"""Benchmarks: medians and interleaved ratios against peers (`python -m experiments benchmarks.NAME`)."""
