"""Names that older programs use: callbacks for each element, buffers, DLPack capsules, questions about types."""

import math

import numpy as np
import pytest

import flambeau as fb
from flambeau.errors import ArgumentError, DTypeError, GradError, ShapeError


class TestMaking:
    def test_scalar_tensor(self):
        for s, expected in ((3, 3.0), (True, 1.0), (2.5, 2.5)):
            x = fb.scalar_tensor(s)
            assert x.item() == expected and x.dtype is fb.float32 and x.shape == ()
        assert fb.scalar_tensor(3.5, dtype=fb.int64).item() == 3
        assert fb.scalar_tensor(2j, dtype=fb.complex64).item() == 2j
        assert fb.scalar_tensor(1, requires_grad=True).requires_grad
        with pytest.raises(ArgumentError, match=r"argument 's' must be Number, not str"):
            fb.scalar_tensor("a")
        with pytest.raises(
            ArgumentError, match=r"scalar_tensor: 2j cannot be converted to float32"
        ):
            fb.scalar_tensor(2j)

    def test_frombuffer(self):
        buffer = bytearray(np.arange(4, dtype="<i4").tobytes())
        x = fb.frombuffer(buffer, dtype=fb.int32)
        assert x.tolist() == [0, 1, 2, 3] and x.dtype is fb.int32
        x[0] = 7
        assert buffer[0] == 7
        assert fb.frombuffer(buffer, dtype=fb.int32, count=2, offset=4).tolist() == [1, 2]
        assert fb.frombuffer(buffer, dtype=fb.int32, count=-3).numel() == 4
        assert fb.frombuffer(np.ones(2, "f4"), dtype=fb.float32, requires_grad=True).requires_grad

    def test_a_buffer_that_cannot_be_written(self):
        with pytest.warns(UserWarning, match="The given buffer is not writable"):
            assert fb.frombuffer(b"ab", dtype=fb.uint8).tolist() == [97, 98]

    @pytest.mark.parametrize(
        ("buffer", "options", "message"),
        [
            (3, {}, "object does not implement Python buffer protocol, got int"),
            (bytearray(), {}, r"both buffer length \(0\) and count \(-1\) must not be 0"),
            (
                bytearray(16),
                {"count": 0},
                r"both buffer length \(16\) and count \(0\) must not be 0",
            ),
            (
                bytearray(16),
                {"offset": 16},
                r"offset \(16 bytes\) must be non-negative and no greater",
            ),
            (bytearray(16), {"offset": -1}, r"offset \(-1 bytes\) must be non-negative"),
            (
                bytearray(16),
                {"offset": 2},
                r"buffer length \(14 bytes\) after offset \(2 bytes\) must be a multiple",
            ),
            (
                bytearray(16),
                {"count": 9},
                r"requested buffer length \(9 \* 4 bytes\) after offset \(0 bytes\)",
            ),
        ],
    )
    def test_buffers_that_do_not_fit(self, buffer, options, message):
        with pytest.raises(ArgumentError, match=message):
            fb.frombuffer(buffer, dtype=fb.int32, **options)

    def test_range_has_both_ends(self):
        assert fb.range(1, 4).tolist() == [1, 2, 3, 4] and fb.range(1, 4).dtype is fb.float32
        assert fb.range(3).tolist() == [0, 1, 2, 3]
        np.testing.assert_allclose(fb.range(0, 1, 0.3).numpy(), [0, 0.3, 0.6, 0.9], rtol=1e-6)
        assert fb.range(4, 1, -1, dtype=fb.int64).tolist() == [4, 3, 2, 1]
        with pytest.raises(ShapeError, match="range: upper bound and lower bound inconsistent"):
            fb.range(4, 1)
        with pytest.raises(ShapeError, match="range: step must be nonzero"):
            fb.range(1, 4, 0)

    def test_capsules(self):
        x = fb.arange(3.0)
        for capsule in (fb.to_dlpack(x), fb.utils.dlpack.to_dlpack(x.requires_grad_())):
            y = fb.from_dlpack(capsule)
            assert y.data_ptr() == x.data_ptr() and y.tolist() == [0, 1, 2]
        assert fb.utils.dlpack.from_dlpack(np.ones(2)).tolist() == [1, 1]
        with pytest.raises(DTypeError, match="can't convert meta device type tensor to numpy"):
            fb.to_dlpack(fb.ones(1, device="meta"))

    def test_detach_and_is_inference(self):
        w = fb.ones(2, requires_grad=True)
        assert not fb.detach(w).requires_grad and fb.detach(w).data_ptr() == w.data_ptr()
        assert fb.is_inference(w) is False


class TestCallbacks:
    def test_apply(self):
        x = fb.tensor([[1.0, 2.0], [3.0, 4.0]])
        assert x.apply_(lambda v: math.sqrt(v) + 1) is x
        np.testing.assert_allclose(x.numpy(), np.sqrt([[1, 2], [3, 4]]) + 1, rtol=1e-6)
        assert x._version == 1
        assert fb.ones(2, dtype=fb.int64).apply_(lambda v: v + 0.7).tolist() == [1, 1]
        assert fb.ones(2, dtype=fb.bool).apply_(lambda v: 0).tolist() == [False, False]
        part = fb.arange(4)
        part[::2].apply_(lambda v: v + 10)
        assert part.tolist() == [10, 1, 12, 3]
        assert fb.empty(0).apply_(lambda v: v).shape == (0,)

    def test_map(self):
        x = fb.ones(2, 2)
        assert x.map_(fb.tensor([1.0, 5.0]), lambda a, b: a + b) is x
        assert x.tolist() == [[2, 6], [2, 6]]

    def test_refusals(self):
        w = fb.ones(2, requires_grad=True)
        with pytest.raises(
            GradError, match=r"Can't call apply_\(\) on Variable that requires grad"
        ):
            w.apply_(abs)
        for a, b in ((w, fb.ones(2)), (fb.ones(2), w)):
            with pytest.raises(
                GradError, match=r"Can't call map_\(\) on Variable that requires grad"
            ):
                a.map_(b, max)
        with pytest.raises(
            ArgumentError, match=r"apply_: only implemented on the cpu, got \(2,\) float32 meta"
        ):
            fb.ones(2, device="meta").apply_(abs)
        with pytest.raises(ArgumentError, match="map_: only implemented on the cpu"):
            fb.ones(2, device="meta").map_(fb.ones(2), max)
        with pytest.raises(
            DTypeError, match=r"map_: expected float32 for 'other', got \(2,\) int64"
        ):
            fb.ones(2).map_(fb.ones(2, dtype=fb.int64), max)
        with pytest.raises(ShapeError, match="expand: the expanded size"):
            fb.ones(2).map_(fb.ones(3), max)


def test_can_cast():
    order = [fb.bool, fb.uint8, fb.int64, fb.float16, fb.float64, fb.complex64]
    rank = [0, 1, 1, 2, 2, 3]
    for a, i in zip(order, rank, strict=True):
        assert [fb.can_cast(a, b) for b in order] == [i <= j for j in rank]
    assert fb.can_cast(int, float) and not fb.can_cast(from_=fb.int32, to=fb.bool)
    x = fb.ones(1, dtype=fb.int64)
    with pytest.raises(DTypeError):
        x += 0.5  # what can_cast says no to


def test_typename():
    assert fb.typename(fb.ones(1)) == "flambeau.FloatTensor"
    assert fb.typename(fb.ones(1, dtype=fb.int64, device="meta")) == "flambeau.meta.LongTensor"
    assert fb.typename(3) == "int" and fb.typename(int) == "int"
    assert (
        fb.typename(fb.Generator()) == fb.typename(fb.Generator) == "flambeau.ops.random.Generator"
    )
    assert fb.typename(fb.ones) == "flambeau.ops.creation.ones"
