"""flambeau-backend-toy: device memory is a private bytearray the core cannot see into."""

import numpy as np

from flambeau.backend import DT, Backend, Caps, DeviceInfo
from flambeau.backend.strided import Buffer, KernelTable, Layout, StridedDevice

K, S = KernelTable(), Layout.STRIDED


def arr(v):  # View -> ndarray; a GPU backend passes (handle, offset, strides) to its kernel instead
    if not hasattr(v, "buf"):
        return v  # python scalar operand
    size = v.dtype.itemsize
    steps = [s * size for s in v.strides]
    return np.ndarray(v.shape, v.dtype.name, v.buf.handle, v.offset * size, steps)


def ufunc(name, fn):
    @K.kernel(name, layout=S, inplace=True)
    def run(q, out, *ins):
        with np.errstate(all="ignore"):
            arr(out)[...] = fn(*map(arr, ins))


def div(a, b):  # floats: IEEE; ints: truncating, and x/0 must not trap
    a, b = np.asarray(a), np.asarray(b)
    if "f" in (a.dtype.kind, b.dtype.kind):
        return a / b
    b = np.where(b == 0, 1, b)
    q = a // b
    return q + ((a % b != 0) & ((a < 0) != (b < 0)))


UFUNCS = {
    "neg": np.negative, "floor": np.floor, "sqrt": np.sqrt, "exp": np.exp, "log": np.log,
    "sin": np.sin, "cos": np.cos, "bitwise_not": np.invert, "add": np.add, "sub": np.subtract,
    "mul": np.multiply, "div": div, "pow": np.power, "fmod": np.fmod, "maximum": np.maximum,
    "eq": np.equal, "lt": np.less, "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor, "shl": np.left_shift, "shr": np.right_shift, "where": np.where,
}  # fmt: skip
COMBINE = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
for name, fn in UFUNCS.items():
    ufunc(name, fn)


@K.kernel("fill", layout=S)
def fill(q, out, *, value):
    arr(out)[...] = value


@K.kernel("copy", "cast", layout=S)
def copy(q, out, x):
    with np.errstate(all="ignore"):
        arr(out)[...] = arr(x)


@K.kernel("iota")  # default layout: contiguous; the core makes that true
def iota(q, out, *, start, step):
    arr(out)[...] = start + step * np.arange(out.shape[0])


@K.kernel("reduce_sum", layout=S)
def reduce_sum(q, out, x, *, dims):
    arr(out)[...] = arr(x).sum(dims, dtype="f8" if x.dtype.kind == "f" else None)


@K.kernel("reduce_max", layout=S)
def reduce_max(q, out, x, *, dims):
    arr(out)[...] = arr(x).max(dims)


@K.kernel("bmm", layout=Layout.MATRIX)
def bmm(q, out, a, b):
    arr(out)[...] = arr(a) @ arr(b)


@K.kernel("gather", layout=S)
def gather(q, out, x, idx, *, dim):
    arr(out)[...] = np.take_along_axis(arr(x), arr(idx), dim)


@K.kernel("scatter", layout=S)  # out already holds the destination's old values
def scatter(q, out, idx, src, *, dim, reduce):
    o, i, s = arr(out), arr(idx), arr(src)
    at = tuple(
        i
        if d == dim
        else np.arange(i.shape[d]).reshape([-1 if e == d else 1 for e in range(i.ndim)])
        for d in range(i.ndim)
    )
    if reduce == "set":
        o[at] = s
    else:
        COMBINE[reduce].at(o, at, s)


class ToyDevice(StridedDevice):
    kernels = K

    def __init__(self, info):
        self.info = info
        self.caps = Caps(compute=frozenset(DT.values()), total_mem=1 << 30, max_alloc=1 << 28)

    def alloc(self, nbytes):
        return Buffer(bytearray(nbytes), nbytes)

    def write(self, q, dst, off, src):
        dst.handle[off : off + len(src)] = src

    def read(self, q, dst, src, off):
        dst[:] = memoryview(src.handle)[off : off + len(dst)]

    def synchronize(self):
        pass


class ToyBackend(Backend):
    name, protocol = "toy", (1, 0)

    def devices(self):
        return [DeviceInfo(0, "toy", vendor="example")]

    def open(self, index):
        return ToyDevice(self.devices()[index])
