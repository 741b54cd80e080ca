"""flambeau's CPU backend: kernels are NumPy callables in one table."""
