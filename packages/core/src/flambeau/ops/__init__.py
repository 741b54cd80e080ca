"""The operations, by family; importing this package gives Tensor its methods."""
