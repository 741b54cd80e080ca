"""FloatTensor and its like, type names, and the default tensor type."""

import numpy as np
import pytest

import flambeau as fb
from flambeau.errors import ArgumentError, DeviceError, DTypeError

TYPES = {
    "FloatTensor": fb.float32, "DoubleTensor": fb.float64, "HalfTensor": fb.float16, "LongTensor": fb.int64,
    "IntTensor": fb.int32, "ShortTensor": fb.int16, "CharTensor": fb.int8, "ByteTensor": fb.uint8,
    "BoolTensor": fb.bool,
}  # fmt: skip


@pytest.fixture(autouse=True)
def defaults():
    yield
    fb.set_default_tensor_type(fb.FloatTensor)


@pytest.mark.parametrize("name", TYPES)
class TestEach:
    def test_it_makes_tensors(self, name):
        cls, d = getattr(fb, name), TYPES[name]
        for x in (cls([1, 0]), cls((1, 0)), cls(np.array([1.0, 0.0])), cls(cls([1, 0]))):
            assert type(x) is fb.Tensor and x.dtype is d and x.tolist() == [1, 0]
        for x, shape in (
            (cls(2, 3), (2, 3)),
            (cls(4), (4,)),
            (cls(fb.Size([2, 1])), (2, 1)),
            (cls(), (0,)),
        ):
            assert x.dtype is d and x.shape == shape
        assert cls([1], device="cpu").dtype is d

    def test_isinstance(self, name):
        cls, d = getattr(fb, name), TYPES[name]
        x = fb.ones(1, dtype=d)
        assert isinstance(x, cls) and not isinstance(x.to("meta"), cls)
        assert [n for n in TYPES if isinstance(x, getattr(fb, n))] == [name]
        assert not isinstance([1.0], cls) and not issubclass(cls, fb.Tensor)

    def test_names(self, name):
        cls, d = getattr(fb, name), TYPES[name]
        x = fb.ones(1, dtype=d)
        assert repr(cls) == f"<class 'flambeau.{name}'>" and cls.dtype is d and not cls.is_cuda
        assert x.type() == fb.typename(x) == f"flambeau.{name}"
        for given in (cls, f"torch.{name}", f"flambeau.{name}", name, d, d.name):
            assert fb.ones(1, dtype=fb.int32).type(given).dtype is d


def test_what_a_constructor_refuses():
    with pytest.raises(
        DTypeError, match=r"FloatTensor: expected float32 cpu, got \(2,\) int64 cpu"
    ):
        fb.FloatTensor(fb.ones(2, dtype=fb.int64))
    with pytest.raises(ArgumentError, match=r"new\(\): data must be a sequence \(got float\)"):
        fb.FloatTensor(3.5)
    with pytest.raises(
        DeviceError, match="legacy constructor expects device type: cpu but device type: meta"
    ):
        fb.FloatTensor([1], device="meta")
    assert fb.LongTensor([1.7, 2]).tolist() == [1, 2]
    assert isinstance(fb.ones(1, requires_grad=True), fb.FloatTensor)


def test_types_by_a_name_that_is_none():
    with pytest.raises(ArgumentError, match="type: invalid type: 'foo'"):
        fb.ones(1).type("foo")
    assert fb.ones(1).type(float).dtype is fb.float64
    assert fb.ones(1, dtype=fb.complex64).type() == "flambeau.ComplexFloatTensor"


def test_the_untyped_constructor_takes_a_size():
    assert fb.Tensor(fb.Size([2, 3])).shape == (2, 3)
    assert fb.Tensor((2, 3)).tolist() == [2, 3]


class TestDefault:
    @pytest.mark.parametrize(
        "given", ["torch.DoubleTensor", "flambeau.DoubleTensor", "float64", "DoubleTensor"]
    )
    def test_by_name(self, given):
        fb.set_default_tensor_type(given)
        assert fb.get_default_dtype() is fb.zeros(1).dtype is fb.float64

    def test_by_class(self):
        fb.set_default_tensor_type(fb.HalfTensor)
        assert fb.tensor(1.0).dtype is fb.float16

    def test_of_cuda(self, monkeypatch):
        monkeypatch.setenv("FLAMBEAU_CUDA_ALIAS", "meta")
        fb.set_default_tensor_type("torch.cuda.FloatTensor")
        try:
            assert fb.zeros(1).device.type == "meta"
        finally:
            fb.set_default_tensor_type("torch.FloatTensor")
        assert fb.zeros(1).device.type == "cpu"

    @pytest.mark.parametrize(
        "given", [fb.LongTensor, "torch.IntTensor", "foo", "fooTensor", fb.float32, 3]
    )
    def test_refused(self, given):
        with pytest.raises(
            DTypeError, match="only floating-point types are supported as the default type"
        ):
            fb.set_default_tensor_type(given)
        assert fb.get_default_dtype() is fb.float32
