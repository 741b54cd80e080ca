"""What StridedDevice promises a kernel, seen from inside the kernels of a small device, and its memory."""

import collections
import gc

import numpy as np
import pytest

import flambeau as fb
from flambeau.backend import Backend, Caps, DeviceInfo, registry
from flambeau.backend.registry import register_backend
from flambeau.backend.strided import Buffer, KernelTable, Layout, StridedDevice, View
from flambeau.dtypes import bfloat16, bool_, float16, float32, float64, int64
from flambeau.errors import (
    BackendValidationError,
    OutOfMemoryError,
    ShapeError,
    UnsupportedDTypeError,
    UnsupportedOpError,
)

S, M = Layout.STRIDED, Layout.MATRIX
BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power, "fmod": np.fmod,
    "maximum": np.maximum, "eq": np.equal, "lt": np.less, "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor, "shl": np.left_shift, "shr": np.right_shift, "where": np.where,
}  # fmt: skip
UNARY = {
    "neg": np.negative, "floor": np.floor, "sqrt": np.sqrt, "exp": np.exp, "log": np.log, "sin": np.sin,
    "cos": np.cos, "bitwise_not": np.invert,
}  # fmt: skip


def array_of(x):
    if not isinstance(x, View):
        return x
    size = x.dtype.itemsize
    return np.ndarray(
        x.shape, x.dtype.name, x.buf.handle, x.offset * size, [s * size for s in x.strides]
    )


def make_table(layout, inplace, log):
    """All required kernels, each of which notes what it is called with."""
    table = KernelTable()

    def kernel(name, compute, layout=layout, **options):
        @table.kernel(name, layout=layout, inplace=inplace, **options)
        def run(q, out, *ins, **attrs):
            log.append((name, out, ins, attrs, q))
            compute(array_of(out), *map(array_of, ins), **attrs)

    def elementwise(fn):
        def compute(out, *ins):
            with np.errstate(all="ignore"):
                out[...] = fn(*ins)

        return compute

    for name, fn in {**BINARY, **UNARY}.items():
        kernel(name, elementwise(fn))
    kernel("fill", lambda out, value: out.fill(value))
    kernel("copy", elementwise(lambda x: x), layout=S)
    kernel("cast", elementwise(lambda x: x))
    kernel(
        "iota",
        lambda out, start, step: np.copyto(out, start + step * np.arange(out.size), "unsafe"),
    )
    kernel("reduce_sum", lambda out, x, dims: np.copyto(out, x.sum(dims), "unsafe"))
    kernel("reduce_max", lambda out, x, dims: np.copyto(out, x.max(dims)))
    kernel("bmm", lambda out, a, b: np.copyto(out, a @ b), layout=M)
    kernel("gather", lambda out, x, i, dim: np.copyto(out, np.take_along_axis(x, i, dim)))
    kernel("scatter", scatter)
    return table


def scatter(out, index, src, dim, reduce):
    for at in np.ndindex(index.shape):
        to = (*at[:dim], index[at], *at[dim + 1 :])
        out[to] = {"set": src[at], "add": out[to] + src[at], "mul": out[to] * src[at]}[reduce]


class SmallDevice(StridedDevice):
    queue = "the queue"

    def __init__(self, info, **caps):
        self.info = info
        self.caps = Caps(**{"compute": frozenset({bool_, float32, float64, int64}), **caps})
        self.blocks = 0
        self.limit = None

    def alloc(self, nbytes):
        if self.limit is not None and self.blocks >= self.limit:
            raise OutOfMemoryError("the driver says no")
        self.blocks += 1
        return Buffer(bytearray(b"\xaa" * nbytes), nbytes)

    def free(self, buf):
        self.blocks -= 1

    def write(self, q, dst, off, src):
        assert q == "the queue"
        dst.handle[off : off + len(src)] = src

    def read(self, q, dst, src, off):
        dst[:] = memoryview(src.handle)[off : off + len(dst)]

    def synchronize(self):
        pass


@pytest.fixture
def small(monkeypatch):
    """Open a device of the test's own: small(layout=..., inplace=..., **caps); device.log has its calls."""
    monkeypatch.setattr(registry, "_r", registry._Registry())

    def make(layout=S, inplace=True, change=lambda table: None, record=True, **caps):
        log = collections.deque(maxlen=None if record else 0)  # what is noted stays in memory
        table = make_table(layout, inplace, log)
        change(table)

        class Here(SmallDevice):
            kernels = table

        class Small(Backend):
            name = "small"

            def devices(self):
                return [DeviceInfo(0, "a small device")]

            def open(self, index):
                return Here(self.devices()[0], **caps)

        register_backend(Small())
        dev = registry.open_device(fb.device("small:0"))
        dev.log = log
        return dev

    yield make
    registry._forget_kinds("small")


def put(a):
    return fb.tensor(np.asarray(a), device="small:0")


def grid(*shape):
    return put(np.arange(np.prod(shape), dtype="f4").reshape(shape))


def last(dev, name):
    return next(call for call in reversed(dev.log) if call[0] == name)


# ---- what kernels see
def test_operands_are_folded_to_few_dimensions(small):
    dev = small()
    grid(2, 3, 4).add(grid(2, 3, 4))
    _, out, (a, b), attrs, q = last(dev, "add")
    assert (out.shape, a.shape, b.strides, attrs, q) == ((24,), (24,), (1,), {}, "the queue")
    grid(2, 3, 4).add(grid(3, 4))
    _, out, (a, b), *_ = last(dev, "add")
    assert (out.shape, out.strides, a.strides, b.strides) == ((2, 12), (12, 1), (12, 1), (0, 1))
    grid(4, 3).t().add(1.5)
    _, out, (a, number), *_ = last(dev, "add")
    assert (out.shape, out.strides, a.strides, number) == ((3, 4), (4, 1), (1, 3), 1.5)


def test_a_contiguous_kernel_gets_copies(small):
    dev = small(layout=Layout.CONTIG)
    x = grid(4, 3).t().add(grid(4))
    _, out, (a, b), *_ = last(dev, "add")
    assert (out.shape, a.shape, a.strides, b.strides) == ((12,), (12,), (1,), (1,))
    assert [c[0] for c in dev.log][-3:] == ["copy", "copy", "add"]
    assert x.tolist() == (np.arange(12).reshape(4, 3).T + np.arange(4)).tolist()
    dev.log.clear()
    grid(6).narrow(0, 2, 3).neg()
    assert [c[0] for c in dev.log] == ["neg"]
    assert last(dev, "neg")[2][0].offset == 2


def test_a_contiguous_kernel_writes_aside_when_the_output_is_strided(small):
    dev = small(layout=Layout.CONTIG)
    x = grid(3, 4)
    dev.log.clear()
    x.narrow(1, 1, 2).add_(10)
    assert [c[0] for c in dev.log] == ["copy", "add", "copy"]
    assert x.tolist() == [[0, 11, 12, 3], [4, 15, 16, 7], [8, 19, 20, 11]]


def test_single_elements_arrive_with_one_dimension_and_nothing_never_arrives(small):
    dev = small()
    y = put(2.0).add(put(3.0))
    assert y.item() == 5
    assert y.shape == ()
    assert last(dev, "add")[1].shape == (1,)
    dev.log.clear()
    assert grid(0, 3).add(grid(3)).shape == (0, 3)
    assert grid(0, 3).t().contiguous().tolist() == [[], [], []]
    assert (grid(0, 3).t() @ grid(0, 2)).tolist() == [[0, 0]] * 3
    assert grid(2, 0).sum(1).tolist() == [0, 0]
    assert grid(2, 0).sum(0).shape == (0,)
    assert {c[0] for c in dev.log} <= {"fill"}
    with pytest.raises(ShapeError, match="reduce_max: no elements to reduce"):
        dev.kernels["reduce_max"](grid(2, 0)._a, (1,), False)


def test_numbers_have_the_operands_type(small):
    dev = small()
    for x, number, expected in (
        (grid(2), 2, 2.0),
        (put(np.arange(2)), True, 1),
        (put(np.arange(2)), 2**64 + 3, 3),
    ):
        x.add(number)
        got = last(dev, "add")[2][1]
        assert (type(got), got) == (type(expected), expected)
    assert put([True]).bitwise_or(True).tolist() == [True]


def test_masks_do_not_decide_the_type(small):
    small()
    y = fb.where(put([True, False]), put(np.array([1, 2], "f8")), 0.0)
    assert (y.dtype, y.tolist()) == (float64, [1, 0])


def test_reductions_get_folded_dimensions(small):
    dev = small()
    x = grid(2, 3, 4, 5)
    assert x.sum((1, 2)).tolist() == np.arange(120).reshape(2, 12, 5).sum(1).tolist()
    _, out, (a,), attrs, _ = last(dev, "reduce_sum")
    assert (a.shape, attrs, out.shape) == ((2, 12, 5), {"dims": (1,)}, (2, 5))
    x.sum((0, 3), keepdim=True)
    _, out, (a,), attrs, _ = last(dev, "reduce_sum")
    assert (a.shape, attrs, out.shape) == ((2, 12, 5), {"dims": (0, 2)}, (12,))
    assert x.sum().shape == ()
    assert last(dev, "reduce_sum")[1].shape == (1,)
    dev.log.clear()
    assert dev.to_host(dev.kernels["reduce_sum"](grid(3, 1)._a, (1,), False)).tolist() == [0, 1, 2]
    assert "reduce_sum" not in [c[0] for c in dev.log]


def test_matrices_reach_bmm_with_a_unit_stride(small):
    dev = small()
    dev.log.clear()
    (grid(3, 2).t() @ grid(3, 4))
    _, out, (a, b), *_ = last(dev, "bmm")
    assert (a.shape, a.strides[1:], b.strides[1:], out.shape) == (
        (1, 2, 3),
        (1, 2),
        (4, 1),
        (1, 2, 4),
    )
    grid(5, 2, 3) @ grid(3, 4)  # all rows of the batches in one product
    assert last(dev, "bmm")[2][0].shape == (1, 10, 3)
    grid(5, 2, 3).mT @ grid(2, 4)  # rows that no stride describes: one product a batch, b repeated
    assert [x.strides for x in last(dev, "bmm")[2]] == [(6, 1, 3), (0, 4, 1)]
    assert "copy" not in [c[0] for c in dev.log]
    grid(6, 6).as_strided((2, 2), (12, 2)) @ grid(2, 2)
    assert "copy" in [c[0] for c in dev.log]


def test_gather_and_scatter_get_equal_sizes(small):
    dev = small()
    x, index = grid(4, 5), put(np.array([[0, 3], [1, 1]]))
    got = dev.kernels["gather"](x._a, index._a, 0)
    assert dev.to_host(got).tolist() == [[0, 16], [5, 6]]
    assert last(dev, "gather")[2][0].shape == (4, 2)
    y = dev.kernels["scatter"](x._a, index._a, 7.0, 0, "set")
    expected = np.arange(20.0).reshape(4, 5)
    expected[[0, 1], 0], expected[[3, 1], 1] = 7, 7
    assert dev.to_host(y).tolist() == expected.tolist()
    assert dev.to_host(x._a)[0, 0] == 0
    _, out, (i, src), attrs, _ = last(dev, "scatter")
    assert (out.shape, i.shape, src.shape, attrs) == (
        (4, 2),
        (2, 2),
        (2, 2),
        {"dim": 0, "reduce": "set"},
    )
    dev.kernels["scatter"](x._a, index._a, grid(3, 3)._a, 1, "add", out=x._a)
    assert dev.to_host(x._a)[0].tolist() == [0, 1, 2, 4, 4]


def test_scatter_through_a_contiguous_kernel(small):
    dev = small(layout=Layout.CONTIG)
    x, index = grid(3, 4), put(np.array([[1, 0, 2]]))
    view = x._kind.k["permute"](x._a, (1, 0))
    dev.kernels["scatter"](view, index._a, grid(1, 3)._a, 1, "add", out=view)
    expected = np.arange(12.0).reshape(3, 4)
    np.add.at(expected, ([1, 0, 2], [0, 0, 0]), [0, 1, 2])
    assert x.tolist() == expected.tolist()
    for empty in (grid(0, 3), grid(3, 0)):
        none = put(np.zeros((0, 0), "i8"))
        assert dev.kernels["scatter"](empty._a, none._a, 1.0, 0, "add").shape == empty.shape


def test_more_dimensions_than_the_device_takes(small):
    dev = small(max_rank=3)
    a = np.arange(2 * 3 * 2 * 3 * 2, dtype="f4").reshape(2, 3, 2, 3, 2)
    x, order = put(a), (4, 2, 0, 3, 1)
    turned = a.transpose(order)
    assert x.permute(order).contiguous().tolist() == turned.tolist()
    assert x.permute(order).add(x.permute(order)).tolist() == (2 * turned).tolist()
    assert x.permute(order).sum((0, 2, 4)).tolist() == turned.sum((0, 2, 4)).tolist()
    assert (
        x.permute(order).sum((0, 2, 4), keepdim=True).tolist()
        == turned.sum((0, 2, 4), keepdims=True).tolist()
    )
    x.permute(order).mul_(2)
    assert x.tolist() == (2 * a).tolist()
    at = np.zeros((2, 2, 2, 3, 1), "i8")
    got = dev.kernels["gather"](x.permute(order)._a, put(at)._a, 4)
    assert dev.to_host(got).tolist() == np.take_along_axis(2 * turned, at, 4).tolist()
    dev.kernels["scatter"](x.permute(order)._a, put(at)._a, -1.0, 4, "set", out=x.permute(order)._a)
    expected = 2 * turned
    np.put_along_axis(expected, at, -1, 4)
    assert x.permute(order).tolist() == expected.tolist()
    assert max(len(c[1].shape) for c in dev.log) <= 3


# ---- writing where inputs lie
@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("layout", [S, Layout.CONTIG])
def test_overlap_of_output_and_inputs(small, inplace, layout):
    dev = small(layout, inplace)
    x = grid(8)
    x.narrow(0, 1, 7).add_(x.narrow(0, 0, 7))
    assert x.tolist() == [0, 1, 3, 5, 7, 9, 11, 13]
    x.narrow(0, 0, 7).sub_(x.narrow(0, 1, 7))
    assert x.tolist() == [-1, -2, -2, -2, -2, -2, -2, 13]
    y = grid(3, 3)
    y.add_(y.t())
    assert y.tolist() == [[0, 4, 8], [4, 8, 12], [8, 12, 16]]
    y.copy_(y.clone().t())
    dev.log.clear()
    y.mul_(2)
    assert [c[0] for c in dev.log] == (["mul"] if inplace else ["mul", "copy"])
    x.narrow(0, 0, 4).copy_(x.narrow(0, 2, 4))
    assert x.tolist() == [-2, -2, -2, -2, -2, -2, -2, 13]


def test_disjoint_parts_are_written_directly(small):
    dev = small(inplace=False)
    x = grid(8)
    dev.log.clear()
    x.narrow(0, 0, 4).add_(x.narrow(0, 4, 4))
    assert dev.log[-1][0] == "copy"  # without inplace, out is an input too
    dev.kernels["add"](x.narrow(0, 4, 4)._a, 1.0, out=x.narrow(0, 0, 4)._a)
    assert [c[0] for c in dev.log] == ["add", "copy", "add"]


def test_out_must_fit(small):
    dev = small()
    add = dev.kernels["add"]
    with pytest.raises(ValueError, match=r"add: cannot write shape \(2, 3\) into <View \(3,\)"):
        add(grid(2, 3)._a, 1.0, out=grid(3)._a)
    with pytest.raises(ValueError, match="share one memory location"):
        add(grid(2, 3)._a, 1.0, out=grid(3).expand(2, 3)._a)
    with pytest.raises(TypeError, match="add: cannot write float32 into .* int64"):
        add(grid(3)._a, 1.0, out=put(np.arange(3))._a)
    with pytest.raises(TypeError, match="needs at least one array"):
        add(1.0, 2.0)


# ---- declarations
def test_a_table_is_checked(small):
    K = KernelTable()
    K.kernel("neg")(lambda q, out, x: None)
    with pytest.raises(BackendValidationError, match="kernel 'neg' is registered twice"):
        K.kernel("neg")(lambda q, out, x: None)
    with pytest.raises(
        BackendValidationError,
        match=r"'exp' must be callable as kernel\(q, out, \*ins, \*\*attrs\)",
    ):
        K.kernel("exp")(lambda x: None)
    with pytest.raises(BackendValidationError, match="needs the name"):
        K.kernel()(lambda q, out: None)
    more = KernelTable(K)
    more.kernel("neg")(lambda q, out, x: None)
    assert more.entries["neg"] is not K.entries["neg"]
    assert (list(K), len(more), "neg" in K, "exp" in K) == (["neg"], 1, True, False)


def test_copy_must_be_strided(small):
    def change(table):
        del table.entries["copy"]
        table.kernel("copy")(lambda q, out, x: None)

    with pytest.raises(BackendValidationError, match="kernel 'copy' must take any view"):
        small(change=change)


def test_missing_kernels_are_named(small):
    with pytest.raises(BackendValidationError, match="missing kernels: neg, bmm"):
        small(change=lambda table: [table.entries.pop(n) for n in ("bmm", "neg")])


def test_kernels_for_some_dtypes_and_conditions_leave_the_rest_to_the_defaults(small):
    calls = []

    def change(table):
        @table.kernel("tanh", layout=S, dtypes=[float32], when=lambda x: x.shape != (3,))
        def tanh(q, out, x):
            calls.append(x.shape)
            array_of(out)[...] = np.tanh(array_of(x))

        del table.entries["exp"]

        @table.kernel("exp", layout=S, dtypes=[float32])
        def exp(q, out, x):
            array_of(out)[...] = np.exp(array_of(x))

    small(change=change)
    assert grid(2, 2).tanh().shape == (2, 2)
    assert calls == [(4,)]
    np.testing.assert_allclose(grid(3).tanh().tolist(), np.tanh(np.arange(3)), 1e-6)
    assert calls == [(4,)]
    x = grid(3)
    np.testing.assert_allclose(x.tanh_().tolist(), np.tanh(np.arange(3)), 1e-6)
    assert calls == [(4,)]
    with pytest.raises(
        UnsupportedOpError, match="exp: the kernel of a small device does not take .*no default"
    ):
        put(np.arange(3.0)).exp()


def test_optional_kernels_take_their_form_from_the_declared_operation(small):
    def change(table):
        @table.kernel("arg_max")
        def arg_max(q, out, x, *, dim):
            seen.append((out.shape, dim))
            array_of(out)[...] = array_of(x).argmax(dim)

        @table.kernel("matmul", layout=M)
        def matmul(q, out, a, b):
            seen.append((a.strides, b.shape))
            array_of(out)[...] = array_of(a) @ array_of(b)

        @table.kernel("isnan", layout=S)
        def isnan(q, out, x):
            array_of(out)[...] = np.isnan(array_of(x))

        @table.kernel("reduce_min", layout=S)
        def reduce_min(q, out, x, *, dims):
            seen.append(dims)
            array_of(out)[...] = array_of(x).min(dims)

    seen = []
    dev = small(change=change)
    x = grid(2, 3)
    assert (x.t() @ x).tolist() == (
        np.arange(6).reshape(2, 3).T @ np.arange(6).reshape(2, 3)
    ).tolist()
    assert seen == [((1, 3), (2, 3))]
    assert x.isnan().dtype is bool_
    assert dev.to_host(dev.kernels["reduce_min"](x._a, (1,), True)).tolist() == [[0], [3]]
    if hasattr(x, "argmax"):
        assert x.argmax(1).tolist() == [2, 2]
        assert x.argmax(1, keepdim=True).shape == (2, 1)
        assert seen[-1] == ((2,), 1)
        assert x.argmax().item() == 5


def test_boundary_functions_stand_in_the_table_as_they_are(small):
    def change(table):
        @table.boundary("twice_")
        def twice(dev, x):
            return dev.kernels["mul"](x, 2.0, out=x)

        table.kernel("nobody_knows_this")(lambda q, out, x: None)

    dev = small(change=change)
    x = grid(3)
    dev.kernels["twice_"](x._a)
    assert x.tolist() == [0, 2, 4]
    with pytest.raises(
        UnsupportedOpError, match="'nobody_knows_this': no operation of this name is declared"
    ):
        dev.kernels["nobody_knows_this"](x._a)


def test_dtypes_that_are_only_stored_compute_in_a_wider_one(small):
    dev = small(storage=frozenset({float16}))
    x = put(np.array([1, 2, 3], "f2"))
    y = (x + x) * 2
    assert (y.dtype, y.tolist()) == (float16, [4, 8, 12])
    assert last(dev, "mul")[1].dtype is float32
    assert (x < 2).dtype is bool_
    x.mul_(2)
    assert (x.dtype, x.tolist()) == (float16, [2, 4, 6])
    assert x.sum().dtype is float16
    w = put(np.eye(2, dtype="f2")).requires_grad_()
    (w @ w).sum().backward()
    assert w.grad.tolist() == [[2, 2], [2, 2]]
    with pytest.raises(
        UnsupportedDTypeError, match=r"small:0 \(a small device\) has no bfloat16|ml_dtypes"
    ):
        fb.zeros(2, dtype=bfloat16, device="small:0")
    with pytest.raises(UnsupportedDTypeError, match="a small device has no int32"):
        dev.from_host(np.zeros(2, "i4"))


# ---- memory
def test_blocks_come_in_size_classes_and_are_used_again(small):
    dev = small(record=False)
    start = dev.memory_stats()
    x = fb.zeros(100, device="small:0")  # 400 B in a block of 512
    first = dev.memory_stats()
    assert (first.allocated - start.allocated, x._a.buf.nbytes) == (512, 400)
    assert (x._a.buf.device, x._a.buf.stream) == (dev, "the queue")
    handle = x._a.buf.handle
    view = x.narrow(0, 1, 2)
    del x
    assert dev.memory_stats().allocated == first.allocated  # the view holds it
    del view
    assert dev.memory_stats().allocated == start.allocated
    y = fb.zeros(128, device="small:0")
    assert y._a.buf.handle is handle
    assert dev.memory_stats().allocations == first.allocations
    fb.zeros(300_000, device="small:0")  # 1.2 MB in 2 MiB
    stats = dev.memory_stats()
    assert stats.peak_allocated - first.allocated == 2 << 20
    assert stats.reserved > stats.allocated
    dev.empty_cache()
    assert dev.memory_stats().reserved == dev.memory_stats().allocated
    assert dev.blocks == 1


def test_nothing_leaks(small):
    dev = small(record=False)

    def step():
        w = grid(4, 4).requires_grad_()
        ((w @ w).cos() + w.t()).sum().backward()

    step()
    gc.disable()
    try:
        before = dev.memory_stats()
        for _ in range(50):
            step()
        after = dev.memory_stats()
    finally:
        gc.enable()
    assert (after.allocated, after.allocations) == (before.allocated, before.allocations)


def test_out_of_memory_flushes_and_tries_once_more(small):
    dev = small(record=False, total_mem=4096)
    kept = fb.zeros(10, device="small:0")
    fb.zeros(1000, device="small:0")  # 4 KiB, idle now
    dev.limit = dev.blocks
    again = fb.zeros(10, device="small:0")
    assert dev.memory_stats().ooms == 1
    text = r"device 0 \(a small device\): no room for 40 B; 1 KiB in use, peak .* of 4 KiB \(the driver"
    with pytest.raises(OutOfMemoryError, match=text):
        fb.zeros(10, device="small:0")
    assert dev.memory_stats().ooms == 2
    del again
    assert fb.zeros(10, device="small:0").tolist() == kept.tolist() == [0] * 10


def test_one_block_has_a_limit(small):
    dev = small(max_alloc=1 << 20)
    with pytest.raises(
        OutOfMemoryError, match="one block holds at most 1 MiB, asked for 1.144 MiB"
    ):
        fb.zeros(300_000, device="small:0")
    assert fb.zeros((1 << 18) - 1, device="small:0").sum().item() == 0
    assert dev.memory_stats().ooms == 1


def test_a_device_may_manage_its_memory_itself(small):
    dev = small()
    dev.manages_memory = True
    x = fb.zeros(10, device="small:0")
    assert x._a.buf.nbytes == 40
    assert x._a.buf.device is dev
    assert dev.memory_stats().allocated == 0


def test_the_host_array_is_kept_until_a_slow_write_is_done(small):
    dev = small()

    class Event:
        done = False

        def query(self):
            return self.done

    events = []

    def write(q, dst, off, src):
        SmallDevice.write(dev, q, dst, off, src)
        events.append(Event())
        return events[-1]

    dev.write = write
    grid(3), grid(4)
    assert len(dev._writes) == 2
    events[0].done = events[1].done = True
    grid(5)
    assert len(dev._writes) == 1


def test_values_travel_unchanged(small):
    dev = small()
    for a in (
        np.float32(3).reshape(()),
        np.zeros((0, 2), "f4"),
        np.arange(6.0)[::2],
        np.arange(6).reshape(2, 3).T,
    ):
        back = dev.to_host(dev.from_host(np.asarray(a)))
        assert back.dtype == a.dtype
        assert back.tolist() == a.tolist()
    assert type(dev.item(dev.from_host(np.array([7])))) is int
    assert dev.item(dev.from_host(np.array([True]))) is True


def test_views_beyond_the_memory_are_refused(small):
    small()
    x = grid(6)
    with pytest.raises(ValueError, match="reach element 6 of a memory block of 6: out of bounds"):
        x.as_strided((3,), (2,), 2)
    assert x.as_strided((3,), (2,), 1).tolist() == [1, 3, 5]
    assert x.narrow(0, 2, 3).storage_offset() == 2
    assert repr(x.narrow(0, 2, 3)._a) == "<View (3,) float32 strides (1,) offset 2>"


def test_parts_of_complex_arrays_are_views(small):
    dev = small(compute=frozenset({bool_, float32, int64, fb.complex64}))
    a = np.array([[1 + 2j, 3 - 4j], [5j, 6]], "c8")
    k, x = dev.kernels, dev.from_host(a)
    assert dev.to_host(k["real"](x)).tolist() == a.real.tolist()
    assert dev.to_host(k["imag"](k["permute"](x, (1, 0)))).tolist() == a.imag.T.tolist()
    pairs = k["view_as_real"](x)
    assert dev.to_host(pairs).tolist() == np.stack([a.real, a.imag], -1).tolist()
    assert k["view_as_complex"](pairs).strides == x.strides
    assert dev.item(k["slice"](x, (0, 1))) == 3 - 4j
    with pytest.raises(ValueError, match="is not made of pairs"):
        k["view_as_complex"](k["slice"](dev.from_host(np.zeros(6, "f4")), (slice(1, 3),)))
    k["add"](k["real"](x), k["imag"](x), out=k["real"](x))  # the same bytes, interleaved
    assert dev.to_host(x).real.tolist() == (a.real + a.imag).tolist()
