"""Benchmarks: danlu beside the fastest peers, in one run, as ratios."""
