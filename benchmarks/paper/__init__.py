"""The evidence of the paper, a script for each claim: `python -m benchmarks.paper.systems DATA --output DIR`."""
