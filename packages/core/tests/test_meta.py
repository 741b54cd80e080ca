"""The meta device: every operation's shape and dtype without data, compared with the cpu's."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as fb
from flambeau.backend.registry import open_device
from flambeau.errors import IndexRangeError, ShapeError, UnsupportedOpError
from flambeau.ops._op import OPS
from flambeau.testing.samples import INTEGER

ELEMENTWISE = sorted(name for name, fn in OPS.items() if fn.op.elementwise and not fn.op.attrs)
REDUCTIONS = sorted(
    name for name, fn in OPS.items() if [p.name for p in fn.op.attrs] == ["dims", "keepdim"]
)


def same_form(fn, *arrays):
    """fn on the cpu and on the meta device: equal shapes, dtypes and gradients' shapes."""
    results = []
    for device in ("cpu", "meta"):
        tensors = [fb.tensor(a, device=device) for a in arrays]
        for t in tensors:
            if t.is_floating_point():
                t.requires_grad_()
        y = fn(*tensors)
        form = [(tuple(y.shape), y.dtype, y.requires_grad)]
        if y.requires_grad and not y.is_complex():
            y.sum().backward()
            form += [t.grad if t.grad is None else tuple(t.grad.shape) for t in tensors]
            assert all(str(t.grad.device) == device for t in tensors if t.grad is not None)
        assert str(y.device) == device
        results.append(form)
    assert results[1] == results[0]


def operands(record, dtype, shapes):
    for p, shape in zip(record.operands, shapes):
        yield np.ones(shape, bool if p.kind == "mask" else "i8" if p.kind == "index" else dtype)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1", "?"])
def test_elementwise_operation(name, dtype):
    if name.startswith("_") and dtype != "f4":
        return  # what calls it has chosen the dtype
    fn = OPS[name]
    one_shape = name == "threshold_backward"  # the derivative of relu: both have its shape
    for shapes in ([(2, 3)] * 3, [(2, 1), (3,), ()], [(), (0, 2), (1,)]):
        arrays = list(operands(fn.op, dtype, [shapes[0]] * 3 if one_shape else shapes))
        try:
            fn(*(fb.tensor(a) for a in arrays))
        except (RuntimeError, TypeError):
            assert dtype != ("i8" if name in INTEGER else "f4")  # that one each operation has
            return  # no operation for this dtype
        same_form(fn, *arrays)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction(name):
    for dims, keepdim in (((0,), False), ((1, 2), True), (None, False), (None, True)):
        if name.endswith("_all") and (keepdim or dims is not None):
            continue
        # the derivative of a product looks at the values: whether one of them is 0
        x = np.ones((2, 3, 4), "i8" if "integers" in name or "prod" in name else "f4")
        same_form(lambda t, dims=dims, keepdim=keepdim: OPS[name](t, dims, keepdim), x)


SHAPED = {
    "matmul": lambda x: x @ x.mT,
    "matmul vector": lambda x: x @ x[0, 0],
    "bmm": lambda x: fb.bmm(x, x.mT),
    "mean": lambda x: x.mean(1),
    "view": lambda x: x.view(6, 4),
    "reshape": lambda x: x.mT.reshape(-1),
    "permute": lambda x: x.permute(2, 0, 1),
    "expand": lambda x: x[:1].expand(5, 3, 4),
    "slice": lambda x: x[:, 1:, ::2] * 2,
    "newaxis": lambda x: x[None, 0, ..., 1],
    "as_strided": lambda x: x.as_strided((2, 2), (1, 1), 3),
    "split": lambda x: x.split(2, 1)[1],
    "index": lambda x: x[fb.zeros(5, dtype=fb.int64, device=x.device)],
    "gather": lambda x: x.gather(2, fb.zeros(2, 3, 7, dtype=fb.int64, device=x.device)),
    "index_select": lambda x: x.index_select(1, fb.zeros(7, dtype=fb.int64, device=x.device)),
    "scatter": lambda x: x.scatter(0, fb.zeros(1, 3, 4, dtype=fb.int64, device=x.device), x * 2),
    "masked_fill": lambda x: x.masked_fill(x > 0, 1.0),
    "where": lambda x: fb.where(x > 0, x, 0.0),
    "cat": lambda x: fb.cat([x, x[:, :1]], 1),
    "stack": lambda x: fb.stack([x, x]),
    "flip": lambda x: x.flip(0),
    "cumsum": lambda x: x.cumsum(1),
    "argmax": lambda x: x.argmax(1),
    "max": lambda x: x.max(1)[0],
    "sort": lambda x: x.sort(1)[1],
    "topk": lambda x: x.topk(2, 1)[0],
    "softmax": lambda x: x.softmax(-1),
    "clone": lambda x: x.mT.clone(),
    "cast": lambda x: x.to(fb.float64),
    "in place": lambda x: (x * 2).add_(1).view(-1)[2:].mul_(x.view(-1)[2:]),
    "setitem": lambda x: _with_item(x * 2),
    "triu": lambda x: x.triu(),
    "var": lambda x: x.var(0),
    "einsum": lambda x: fb.einsum("bij,bkj->bik", x, x),
}


def _with_item(x):
    x[0, 1:] = 3.0
    return x


@pytest.mark.parametrize("what", SHAPED)
def test_operations_with_rules_of_their_own(what):
    x = np.random.default_rng(0).random((2, 3, 4)).astype("f4")
    same_form(SHAPED[what], x)


def test_nothing_is_allocated():
    x = fb.zeros(100_000, 100_000, 100_000, device="meta", requires_grad=True)
    y = (x @ x.mT).relu().sum(2)
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert fb.arange(10**15, device="meta").shape == (10**15,)
    assert x.nbytes == 4 * 10**15


def test_views_have_the_strides_that_they_have_elsewhere():
    for view in (
        lambda x: x.t(),
        lambda x: x[1:, ::2],
        lambda x: x[1],
        lambda x: x.t().reshape(-1),
        lambda x: x.expand(3, 4, 6),
        lambda x: x.view(2, 2, 6)[:, 1],
    ):
        here, there = view(fb.zeros(4, 6)), view(fb.zeros(4, 6, device="meta"))
        assert there.stride() == here.stride()
        assert there.storage_offset() == here.storage_offset()
        assert there.is_contiguous() == here.is_contiguous()
    window = fb.zeros(4, 6, device="meta").as_strided((2, 3), (1, 2), 5)
    assert (window.stride(), window.storage_offset()) == ((1, 2), 5)


def test_it_prints_and_describes_itself():
    x = fb.ones(2, 3, device="meta")
    assert repr(x) == "tensor(..., device='meta', size=(2, 3))"
    assert x.is_meta
    assert not fb.ones(2).is_meta
    assert (
        repr(open_device(fb.device("meta")).kernels["neg"](x._a))
        == "<View (2, 3) float32 strides (3, 1) offset 0>"
    )
    open_device(fb.device("meta")).synchronize()


@pytest.mark.parametrize(
    "leave",
    [fb.Tensor.item, fb.Tensor.tolist, fb.Tensor.cpu, bool, float, lambda x: x.to("cpu")],
)
def test_there_are_no_data_to_leave(leave):
    text = r"no data! \(meta tensors have no data: \(1,\) float32 meta\)"
    with pytest.raises(UnsupportedOpError, match=text) as caught:
        leave(fb.ones(1, device="meta"))
    assert isinstance(caught.value, NotImplementedError)


def test_tensors_come_and_go_without_data():
    x = fb.tensor([1.0, 2.0]).to("meta")
    assert (x.shape, x.dtype) == ((2,), fb.float32)
    assert fb.zeros_like(x, device="cpu").tolist() == [0, 0]
    assert fb.tensor([1, 2], device="meta", dtype=fb.float64).dtype is fb.float64
    with pytest.raises(RuntimeError, match="two devices, cpu and meta"):
        fb.ones(2) + x


def test_errors_are_those_of_other_devices():
    x, y = fb.zeros(2, 3, device="meta"), fb.zeros(4, device="meta")
    with pytest.raises(
        ShapeError, match=r"add: the size of tensor a \(3\) must match the size of tensor b \(4\)"
    ):
        x + y
    with pytest.raises(ShapeError, match="mat1 and mat2 shapes cannot be multiplied"):
        x @ x
    with pytest.raises(ShapeError, match="shape '\\[5\\]' is invalid for input of size 6"):
        x.view(5)
    with pytest.raises(RuntimeError, match="view"):
        x.t().view(6)
    with pytest.raises(ShapeError, match="add_: output with shape"):
        y.add_(fb.zeros(2, 4, device="meta"))
    with pytest.raises(ShapeError, match="single memory location"):
        y.expand(2, 4).add_(1)
    with pytest.raises(IndexRangeError, match="out of bounds|out of range"):
        x.select(0, 2)


def test_shapes_that_depend_on_the_data_are_refused():
    x = fb.ones(3, device="meta")
    for ask in ("nonzero", "unique"):
        if hasattr(x, ask):
            with pytest.raises(RuntimeError):
                getattr(x, ask)()


def test_operations_declared_later_are_known():
    from flambeau.ops._op import broadcast, op
    from flambeau.tensor import Tensor

    table = open_device(fb.device("meta")).kernels
    assert table["declared_later"] is None

    @op(shape=broadcast, dtype="compare")
    def declared_later(input: Tensor, other: Tensor) -> Tensor:
        raise AssertionError

    try:
        y = declared_later(fb.zeros(2, 1, device="meta"), fb.zeros(3, device="meta"))
        assert (y.shape, y.dtype) == ((2, 3), fb.bool)
    finally:
        del OPS["declared_later"], table["declared_later"]
