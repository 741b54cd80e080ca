"""What operations with several results return: tuples whose items have names, one class per operation."""

from __future__ import annotations

from operator import itemgetter
from typing import Any


class _Result(tuple[Any, ...]):
    """A tuple with named items; lighter to define and to make than collections.namedtuple."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()

    def __new__(cls, *items: Any) -> Any:
        return tuple.__new__(cls, items)

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        lines = ",\n".join(f"{name}={item!r}" for name, item in zip(self._fields, self))
        return f"flambeau.return_types.{type(self).__name__}(\n{lines})"


def _named(name: str, *fields: str) -> Any:
    members: dict[str, Any] = {field: property(itemgetter(i)) for i, field in enumerate(fields)}
    return type(
        name, (_Result,), {"__slots__": (), "_fields": fields, "__module__": __name__, **members}
    )


max = _named("max", "values", "indices")
min = _named("min", "values", "indices")
median = _named("median", "values", "indices")
nanmedian = _named("nanmedian", "values", "indices")
mode = _named("mode", "values", "indices")
kthvalue = _named("kthvalue", "values", "indices")
sort = _named("sort", "values", "indices")
topk = _named("topk", "values", "indices")
cummax = _named("cummax", "values", "indices")
cummin = _named("cummin", "values", "indices")
frexp = _named("frexp", "mantissa", "exponent")
aminmax = _named("aminmax", "min", "max")
histogram = _named("histogram", "hist", "bin_edges")
histogramdd = _named("histogramdd", "hist", "bin_edges")
