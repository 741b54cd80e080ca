"""The text of tensors, character for character PyTorch's, from NumPy arrays."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_SCI_RATIO = 1000.0  # largest / smallest magnitude above which PyTorch turns to exponents
_SCI_ABOVE = 1.0e8
_SCI_BELOW = 1.0e-4  # looked at only when some number has a fraction


class _Options(NamedTuple):
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: float = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": _Options(),
    "short": _Options(precision=2, edgeitems=2),
    "full": _Options(threshold=math.inf),
}
_options = _Options()


def _count(name: str, value: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise ValueError(f"set_printoptions: {name} must be an integer >= 0, got {value!r}")
    return number


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: float | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Choose how tensors print, for the whole process.

    Arguments left at None keep their present value, except `sci_mode`, where None is the value
    "decide for each tensor": as in PyTorch, every call sets it.

    Args:
        precision (int): digits after the decimal point.
        threshold (int or inf): a tensor with more elements than this is summarised with `...`.
        edgeitems (int): rows kept at each end of an axis of a summarised tensor.
        linewidth (int or inf): columns in a line.
        profile (str): "default" (4, 1000, 3, 80 for the four above), "short" (2, 1000, 2, 80) or
            "full" (4, inf, 3, 80); it is applied first, the other arguments over it.
        sci_mode (bool): True writes floats with an exponent, False without.

    Raises:
        ValueError: unknown profile; precision or edgeitems negative or no integer.

    Example:
        >>> import numpy as np
        >>> from flambeau.printing import format_tensor, set_printoptions
        >>> set_printoptions(precision=2)
        >>> format_tensor(np.array([0.5, 1.0]))
        'tensor([0.50, 1.00])'
        >>> set_printoptions(profile="default")
    """
    global _options
    if profile is not None and profile not in _PROFILES:
        known = ", ".join(repr(name) for name in _PROFILES)
        raise ValueError(f"set_printoptions: profile must be one of {known}, got {profile!r}")
    base = _options if profile is None else _PROFILES[profile]
    _options = _Options(
        base.precision if precision is None else _count("precision", precision),
        base.threshold if threshold is None else threshold,
        base.edgeitems if edgeitems is None else _count("edgeitems", edgeitems),
        base.linewidth if linewidth is None else linewidth,
        sci_mode,
    )


def get_printoptions() -> dict[str, Any]:
    """Return the options in force, as keyword arguments for `set_printoptions`.

    Returns:
        dict with the keys precision, threshold, edgeitems, linewidth, sci_mode.

    Example:
        >>> from flambeau.printing import get_printoptions
        >>> get_printoptions()["linewidth"]
        80
    """
    return _options._asdict()


@contextlib.contextmanager
def printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: float | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> Iterator[None]:
    """Set print options for a `with` block; the old ones return at its end.

    Args: those of `set_printoptions`.

    Raises:
        ValueError: as `set_printoptions`.

    Example:
        >>> import numpy as np
        >>> from flambeau.printing import format_tensor, printoptions
        >>> with printoptions(precision=1):
        ...     format_tensor(np.array(0.25))
        'tensor(0.2)'
    """
    global _options
    before = _options
    try:
        set_printoptions(precision, threshold, edgeitems, linewidth, profile, sci_mode)
        yield
    finally:
        _options = before


def shape_suffixes(
    shape: Sequence[int],
    dtype: object,
    *,
    default_dtype: object = "float32",
    has_data: bool = True,
) -> list[str]:
    """Return the `size=` and `dtype=` suffixes that PyTorch shows for a tensor, if any.

    They stand after `device=` and before `grad_fn=` or `requires_grad=`. The dtype is left out
    where the numbers tell it: the default float, the complex type that goes with it, int64 and
    bool; without numbers (empty, or `has_data` False), only the default float is left out.

    Args:
        shape (sequence of int): the tensor's shape.
        dtype: its element type; str(dtype) is the name, with or without a module before it.
        default_dtype: the default float type, in the same form.
        has_data (bool): False for a tensor that is only a shape (device "meta").

    Returns:
        list of 0 to 2 strings.

    Example:
        >>> from flambeau.printing import shape_suffixes
        >>> shape_suffixes((0, 3), "flambeau.int64")
        ['size=(0, 3)', 'dtype=flambeau.int64']
        >>> shape_suffixes((2, 3), "flambeau.int64")
        []
    """
    name = str(dtype).rpartition(".")[2]
    default = str(default_dtype).rpartition(".")[2]
    empty = 0 in shape
    hidden = {default}
    if has_data and not empty:
        hidden |= {"int64", "bool", "complex128" if default == "float64" else "complex64"}
        size = _options.edgeitems == 0
    else:
        size = not has_data or len(shape) != 1
    suffixes = [f"size={tuple(int(n) for n in shape)}"] if size else []
    return suffixes if name in hidden else [*suffixes, f"dtype={dtype}"]


def format_tensor(
    array: NDArray[Any] | None, *, prefix: str = "tensor(", suffixes: Sequence[str] = ()
) -> str:
    """Return the text of a tensor, as `repr` gives it.

    Args:
        array (numpy.ndarray): the values, any shape; bool, integer, float, complex or bfloat16
            (ml_dtypes' type, or its values as float32: the text is the same). None, for a tensor
            without data, prints `...`.
        prefix (str): what opens the text, with its bracket; later lines are indented by the
            length of its last line.
        suffixes (sequence of str): what follows the values, in order; each goes on a new line
            when it would pass the line width.

    Returns:
        str without a newline at its end.

    Numerics:
        Widths, and the choice between `1.`, `1.5000` and `1.5000e+00`, are taken in float64 from
        the elements shown that are finite and not zero.

    Example:
        >>> import numpy as np
        >>> from flambeau.printing import format_tensor
        >>> format_tensor(np.array([1.0, 2.0, 3.0]), suffixes=["requires_grad=True"])
        'tensor([1., 2., 3.], requires_grad=True)'
    """
    indent = len(prefix) - (prefix.rfind("\n") + 1)
    text = prefix + ("..." if array is None else _contents(np.asarray(array), indent))
    used = len(text) - (text.rfind("\n") + 1) + 2  # PyTorch counts two columns more than there are
    for suffix in suffixes:
        if used + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            used = indent + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"


def _contents(array: NDArray[Any], indent: int) -> str:
    """The bracketed numbers."""
    edge = _options.edgeitems
    shape = array.shape
    if array.size == 0:
        return "[]"
    cut = [array.size > _options.threshold and n > 2 * edge for n in shape]
    if any(cut):
        if edge == 0:
            return "[...]"
        ends = [*range(edge), *range(-edge, 0)]
        kept = [ends if c else range(n) for n, c in zip(shape, cut, strict=True)]
        array = array[np.ix_(*kept)]
    cells, width = _cells(array.reshape(-1))
    return _nest(cells, array.shape, cut, width + 2, indent) if shape else cells[0]


def _nest(
    cells: list[str], shape: Sequence[int], cut: Sequence[bool], step: int, indent: int
) -> str:
    """Brackets around the cells of one sub-tensor; `step` is a cell's width with its comma."""
    if len(shape) == 1:
        return _row(cells, cut[0], step, indent)
    block = len(cells) // shape[0]
    starts = range(0, len(cells), block)
    parts = [_nest(cells[i : i + block], shape[1:], cut[1:], step, indent + 1) for i in starts]
    if cut[0]:
        parts.insert(len(parts) // 2, "...")
    gap = "," + "\n" * (len(shape) - 1) + " " * (indent + 1)
    return "[" + gap.join(parts) + "]"


def _row(cells: list[str], cut: bool, step: int, indent: int) -> str:
    if cut:
        middle = len(cells) // 2
        cells = [*cells[:middle], " ...", *cells[middle:]]
    fit = max(1, int(min(len(cells), (_options.linewidth - indent) / step)))
    lines = [", ".join(cells[i : i + fit]) for i in range(0, len(cells), fit)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _cells(flat: NDArray[Any]) -> tuple[list[str], int]:
    """Each element's text padded to the column, and the column's width as PyTorch counts it."""
    if flat.dtype.kind in "fV":  # V: ml_dtypes' bfloat16
        texts, width = _float_texts(flat.astype(np.float64))
    elif flat.dtype.kind == "c":
        reals, real_width = _float_texts(flat.real.astype(np.float64))
        imags, imag_width = _float_texts(flat.imag.astype(np.float64))
        pairs = zip((text.rjust(real_width) for text in reals), imags, strict=True)
        texts = [re + ("" if im[0] == "-" else "+") + im + "j" for re, im in pairs]
        return texts, real_width + imag_width + 1
    else:
        texts = [str(value) for value in flat.tolist()]
        width = max(map(len, texts))
    return [text.rjust(width) for text in texts], width


def _float_texts(values: NDArray[np.float64]) -> tuple[list[str], int]:
    """The numbers written out in one common form, not padded, and the width they call for."""
    counted = np.isfinite(values) & (values != 0)
    sizes = np.abs(values[counted])
    if sizes.size == 0:
        return _write(values.tolist(), "whole"), 1
    low, high = float(sizes.min()), float(sizes.max())
    plain = "whole" if bool((sizes == np.floor(sizes)).all()) else "f"
    sci = high / low > _SCI_RATIO or high > _SCI_ABOVE or (plain == "f" and low < _SCI_BELOW)
    if _options.sci_mode is not None:
        sci = _options.sci_mode
    texts = _write(values.tolist(), "e" if sci else plain)
    return texts, max(len(texts[i]) for i in np.flatnonzero(counted).tolist())


def _write(values: list[float], form: str) -> list[str]:
    if form == "whole":
        return [f"{v:.0f}." if math.isfinite(v) else f"{v:.0f}" for v in values]
    spec = f".{_options.precision}{form}"
    return [format(v, spec) for v in values]
