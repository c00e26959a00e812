"""The rows of the benchmark: each measures one thing, and says it in figures."""
