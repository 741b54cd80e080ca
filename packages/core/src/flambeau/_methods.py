"""Base of Tensor: empty at run time, its stub lists the methods that `ops/` attach, for type checkers and editors."""


class TensorMethods:
    """Operations as methods; `_methods.pyi` is made by scripts/make_stubs.py."""

    __slots__ = ()
