"""Element types and promotion."""

import copy
import pickle

import numpy as np
import pytest

import flambeau as fb
from flambeau import dtypes

# PyTorch's table (docs, "tensor attributes: type promotion"), rows and columns in this order; f is float32.
ORDER = ["u1", "i1", "i2", "i4", "i8", "f2", "bf", "f4", "f8", "c8", "c16", "b"]
NAMES = dict(
    zip(
        ORDER,
        (
            "uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128 "
            "bool"
        ).split(),
        strict=True,
    )
)
TABLE = [
    row.split()
    for row in """
    u1  i2  i2  i4  i8  f2  bf  f4  f8  c8  c16 u1
    i2  i1  i2  i4  i8  f2  bf  f4  f8  c8  c16 i1
    i2  i2  i2  i4  i8  f2  bf  f4  f8  c8  c16 i2
    i4  i4  i4  i4  i8  f2  bf  f4  f8  c8  c16 i4
    i8  i8  i8  i8  i8  f2  bf  f4  f8  c8  c16 i8
    f2  f2  f2  f2  f2  f2  f4  f4  f8  c8  c16 f2
    bf  bf  bf  bf  bf  f4  bf  f4  f8  c8  c16 bf
    f4  f4  f4  f4  f4  f4  f4  f4  f8  c8  c16 f4
    f8  f8  f8  f8  f8  f8  f8  f8  f8  c16 c16 f8
    c8  c8  c8  c8  c8  c8  c8  c8  c16 c8  c16 c8
    c16 c16 c16 c16 c16 c16 c16 c16 c16 c16 c16 c16
    u1  i1  i2  i4  i8  f2  bf  f4  f8  c8  c16 b
    """.strip().splitlines()
]


@pytest.mark.parametrize("row", range(12))
def test_promotion_table(row):
    for column in range(12):
        a, b = (dtypes.by_name(NAMES[ORDER[i]]) for i in (row, column))
        assert fb.promote_types(a, b).name == NAMES[TABLE[row][column]], (a, b)


@pytest.mark.parametrize(
    ("operands", "expected"),
    [
        ((fb.int64, 1.5), fb.float32),
        ((fb.uint8, 300), fb.uint8),
        ((fb.bool, 2), fb.int64),
        ((fb.float16, 2.5), fb.float16),
        ((fb.float32, 1j), fb.complex64),
        ((fb.float64, 1j), fb.complex128),
        ((fb.int32, True), fb.int32),
        ((fb.bool, True), fb.bool),
    ],
)
def test_python_numbers_are_weak(operands, expected):
    d, number = operands
    assert (fb.ones(2).to(d) * number).dtype is expected
    assert (number * fb.ones(2).to(d)).dtype is expected


def test_tensors_with_dimensions_outrank_those_without():
    vector, scalar = fb.ones(2, dtype=fb.float32), fb.tensor(1.0, dtype=fb.float64)
    assert (vector + scalar).dtype is fb.float32
    assert (fb.ones(2, dtype=fb.int64) + scalar).dtype is fb.float64
    assert (fb.ones(2, dtype=fb.int8) + fb.tensor(1)).dtype is fb.int8
    assert fb.result_type(fb.tensor(1), fb.tensor(1.0)) is fb.float32


def test_integers_wrap_like_machine_numbers():
    assert (fb.tensor([250], dtype=fb.uint8) + 300).tolist() == [(250 + 300) % 256]
    assert (fb.tensor([127], dtype=fb.int8) + 1).tolist() == [-128]


def test_names_sizes_and_identity():
    assert fb.float is fb.float32
    assert fb.long is fb.int64
    assert fb.half is fb.float16
    assert repr(fb.int64) == "flambeau.int64"
    assert [d.itemsize for d in (fb.bool, fb.int16, fb.float64, fb.complex128)] == [1, 2, 8, 16]
    assert copy.deepcopy(fb.float32) is fb.float32
    assert pickle.loads(pickle.dumps(fb.bool)) is fb.bool
    assert fb.complex64.to_real() is fb.float32
    assert fb.float64.to_complex() is fb.complex128


def test_limits():
    assert fb.finfo(fb.float32).eps == 2.0**-23
    assert fb.finfo(fb.float16).max == 65504.0
    assert fb.iinfo(fb.uint8).max == 255
    assert "dtype=float32" in repr(fb.finfo())
    assert "max=127" in repr(fb.iinfo(fb.int8))
    with pytest.raises(TypeError, match=r"finfo: needs a floating-point dtype, got flambeau.int64"):
        fb.finfo(fb.int64)
    with pytest.raises(TypeError, match="iinfo: needs an integer dtype"):
        fb.iinfo(fb.float32)


def test_default_dtype():
    fb.set_default_dtype(fb.float64)
    try:
        assert fb.tensor(1.5).dtype is fb.zeros(1).dtype is fb.get_default_dtype() is fb.float64
        assert (fb.arange(3) / 2).dtype is fb.float64
    finally:
        fb.set_default_dtype(fb.float32)
    with pytest.raises(
        TypeError, match="only floating-point types are supported as the default type"
    ):
        fb.set_default_dtype(fb.int64)


def test_numpy_types_without_a_counterpart():
    with pytest.raises(TypeError, match=r"can't convert np.ndarray of type numpy.<U1"):
        fb.from_numpy(np.array(["a"]))


def test_bfloat16_needs_ml_dtypes(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ml_dtypes", None)
    monkeypatch.setattr(fb.bfloat16, "_numpy", None)
    with pytest.raises(
        TypeError,
        match=r"bfloat16: .* ml_dtypes, is not installed. Hint: pip install 'flambeau-cpu\[bf16\]'",
    ):
        fb.ones(1).to(fb.bfloat16)


def test_bfloat16_stores_and_computes():
    pytest.importorskip(
        "ml_dtypes", reason="bfloat16 on the cpu comes with the extra flambeau-cpu[bf16]"
    )
    x = fb.tensor([1.0, 2.5]).to(fb.bfloat16)
    assert x.dtype is fb.bfloat16
    assert (x + x).float().tolist() == [2.0, 5.0]
    assert repr(x) == "tensor([1.0000, 2.5000], dtype=flambeau.bfloat16)"
