"""Messages: class and text of what a user meets first, for core and for the layers when they are installed."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import flambeau as fb


class Case(NamedTuple):
    run: Callable[[], Any]
    error: type[Exception] | tuple[type[Exception], ...]
    match: str


def leaf(*shape):
    return fb.ones(*shape, requires_grad=True)


def twice():
    loss = (leaf(3) * 2).sum()
    loss.backward()
    loss.backward()


def stale():
    x = leaf(3)
    y = x.exp()
    y.mul_(2)
    y.sum().backward()


def without_grad():
    with fb.no_grad():
        (leaf(2) * 2).sum().backward()


def assign(x, key, value):
    x[key] = value


CORE = {
    # shapes
    "broadcast": Case(
        lambda: fb.randn(3, 4) + fb.randn(3, 5),
        RuntimeError,
        r"add: the size of tensor a \(4\) must match the size of tensor b \(5\) at non-singleton dimension 1, got "
        r"shapes \(3, 4\) and \(3, 5\); aligned from the right:\n    \(3, 4\)\n    \(3, 5\)\n  "
        r"operands: \(3, 4\) float32 cpu",
    ),
    "broadcast, ranks": Case(
        lambda: fb.ones(2, 3, 4) * fb.ones(3, 5),
        ValueError,
        r"mul: .*aligned from the right:\n    \(2, 3, 4\)\n    \( , 3, 5\)",
    ),
    "matmul": Case(
        lambda: fb.ones(2, 3) @ fb.ones(4, 5),
        RuntimeError,
        r"matmul: mat1 and mat2 shapes cannot be multiplied \(2x3 and 4x5\), got 3 != 4",
    ),
    "dot": Case(lambda: fb.dot(fb.ones(2), fb.ones(3)), RuntimeError, r"dot: .*\[2\].*\[3\]"),
    "bmm": Case(
        lambda: fb.ones(2, 3, 4).bmm(fb.ones(2, 5, 4)),
        RuntimeError,
        r"bmm: needs \(b, n, m\) and \(b, m, p\), got \[2, 3, 4\] and \[2, 5, 4\]\. Hint: matmul",
    ),
    "view": Case(
        lambda: fb.ones(2, 3).t().view(6),
        RuntimeError,
        r"view: size \[6\] is not compatible .*strides \(1, 3\).* Hint: reshape\(\)",
    ),
    "reshape": Case(
        lambda: fb.ones(2, 3).reshape(4),
        RuntimeError,
        r"reshape: shape '\[4\]' is invalid for input of size 6 \(\(2, 3\) float32 cpu\)",
    ),
    "expand": Case(
        lambda: fb.ones(2, 3).expand(3, 3),
        RuntimeError,
        r"expand: the expanded size of the tensor \(3\) must match the existing size \(2\)",
    ),
    "expand, new -1": Case(
        lambda: fb.ones(3).expand(-1, 3),
        RuntimeError,
        r"expand: a size of -1 keeps an existing dim",
    ),
    "cat": Case(
        lambda: fb.cat([fb.ones(2, 3), fb.ones(2, 4)]),
        RuntimeError,
        r"cat: Sizes of tensors must match except in dimension 0\. Expected size 3 but got "
        r"size 4 for tensor number 1 in the list \(\(2, 3\) float32 cpu; \(2, 4\) float32 cpu\)\. Hint: dim=1$",
    ),
    "cat in no dimension": Case(
        lambda: fb.cat([fb.ones(2, 3), fb.ones(4, 5)]),
        RuntimeError,
        r"cat: Sizes of tensors must match .*Hint: cut or pad tensors\[1\] to the others' sizes$",
    ),
    "cat of other ranks": Case(
        lambda: fb.cat([fb.ones(2, 3), fb.ones(3)]),
        RuntimeError,
        r"cat: Tensors must have same number of dimensions: got 2 and 1 .*Hint: tensors\[1\]\.unsqueeze\(dim\)",
    ),
    "stack": Case(
        lambda: fb.stack([fb.ones(2), fb.ones(3)]),
        RuntimeError,
        r"stack expects each tensor to be equal size, but got \[2\] at entry 0 and \[3\] at entry 1",
    ),
    "split of a number": Case(
        lambda: fb.tensor(1.0).split(1),
        RuntimeError,
        r"split: needs at least a 1-dimensional tensor, got \(\) float32 cpu\. Hint: x\.unsqueeze\(0\)",
    ),
    "narrow of a number": Case(
        lambda: fb.tensor(1.0).narrow(0, 0, 1),
        RuntimeError,
        "narrow: needs at least a 1-dimensional",
    ),
    "chunk of a number": Case(
        lambda: fb.tensor(1.0).chunk(2), RuntimeError, "chunk: needs at least a 1-dimensional"
    ),
    "unflatten of a number": Case(
        lambda: fb.tensor(1.0).unflatten(0, (1, 1)),
        RuntimeError,
        "unflatten: needs at least a 1-dim",
    ),
    "unbind of a number": Case(
        lambda: fb.tensor(1.0).unbind(), IndexError, "unbind: a 0-d tensor has no dimensions"
    ),
    "as_strided": Case(
        lambda: fb.ones(2).as_strided((3,), (2,)),
        RuntimeError,
        r"as_strided: size \(3,\), stride \(2,\) and storage_offset 0 reach outside the memory of \(2,\)",
    ),
    # indices
    "index": Case(
        lambda: fb.ones(3)[5],
        IndexError,
        r"^index 5 is out of bounds for dimension 0 with size 3 \(valid: -3 to 2; \(3,\) float32 cpu\)$",
    ),
    "index tensor": Case(
        lambda: fb.ones(3)[fb.tensor([5])],
        IndexError,
        r"^index 5 is out of bounds for dimension 0 with size 3 \(valid: -3 to 2; \(3,\) float32 cpu\)$",
    ),
    "index tensors": Case(
        lambda: fb.ones(3, 4)[fb.tensor([0]), fb.tensor([9])],
        IndexError,
        r"^index 9 is out of bounds for dimension 1 with size 4 \(valid: -4 to 3; \(3, 4\) float32 cpu\)$",
    ),
    "index of nothing": Case(
        lambda: fb.ones(0)[0],
        IndexError,
        r"^index 0 is out of bounds for dimension 0 with size 0 \(it is empty; \(0,\) float32 cpu\)$",
    ),
    "assignment": Case(
        lambda: assign(fb.ones(3), 5, 1.0),
        IndexError,
        r"^index 5 is out of bounds for dimension 0 with size 3 \(valid: -3 to 2; \(3,\) float32 cpu\)$",
    ),
    "gather": Case(
        lambda: fb.ones(3).gather(0, fb.tensor([-1])),
        IndexError,
        r"^gather: index -1 is out of bounds for dimension 0 with size 3 \(valid: 0 to 2; \(3,\) float32 cpu\)$",
    ),
    "scatter_": Case(
        lambda: fb.ones(3).scatter_(0, fb.tensor([3]), 1.0),
        IndexError,
        r"^scatter_: index 3 is out of bounds for dimension 0 with size 3 \(valid: 0 to 2; \(3,\) float32 cpu\)$",
    ),
    "index_select": Case(
        lambda: fb.ones(3).index_select(0, fb.tensor([3])),
        IndexError,
        r"^index_select: index 3 is out of bounds .* \(valid: 0 to 2; \(3,\) float32 cpu\)$",
    ),
    "index_add": Case(
        lambda: fb.ones(3).index_add(0, fb.tensor([3]), fb.ones(1)),
        IndexError,
        r"^index_add: index 3 is out of bounds .* \(valid: 0 to 2; \(3,\) float32 cpu\)$",
    ),
    "index_copy_": Case(
        lambda: fb.ones(3).index_copy_(0, fb.tensor([-1]), fb.ones(1)),
        IndexError,
        r"^index_copy_: index -1 is out of bounds .* \(valid: 0 to 2; \(3,\) float32 cpu\)$",
    ),
    "index_put": Case(
        lambda: fb.ones(3).index_put((fb.tensor([5]),), fb.ones(1)),
        IndexError,
        r"^index_put: index 5 is out of bounds .* \(valid: -3 to 2; \(3,\) float32 cpu\)$",
    ),
    "take": Case(
        lambda: fb.take(fb.ones(3), fb.tensor([5])),
        IndexError,
        r"^take: index 5 is out of bounds .* \(valid: -3 to 2; \(3,\) float32 cpu\)$",
    ),
    "select": Case(
        lambda: fb.ones(3).select(0, 5),
        IndexError,
        r"select\(\): index 5 out of range for tensor of size \[3\] at dimension 0 \(valid: -3 to 2; \(3,\) float32",
    ),
    "too many indices": Case(
        lambda: fb.ones(3)[0, 0], IndexError, "too many indices for tensor of dimension 1"
    ),
    "mask": Case(
        lambda: fb.ones(3)[fb.ones(2) > 0],
        IndexError,
        r"The shape of the mask \[2\] at index 0 does not match the shape of the indexed tensor \[3\]",
    ),
    "dim": Case(
        lambda: fb.ones(3).sum(2),
        IndexError,
        r"sum: Dimension out of range \(expected to be in range of \[-1, 0\], but got 2\)",
    ),
    "stride's dim": Case(
        lambda: fb.ones(3).stride(1), IndexError, "stride: Dimension out of range"
    ),
    # numbers from tensors
    "bool of several": Case(
        lambda: bool(fb.ones(2)),
        RuntimeError,
        r"Boolean value of Tensor with more than one value is ambiguous \(\(2,\) float32 cpu\)\. Hint: use \.any\(\)",
    ),
    "bool of none": Case(
        lambda: bool(fb.ones(0)),
        RuntimeError,
        "Boolean value of Tensor with no values is ambiguous",
    ),
    "item": Case(
        lambda: fb.ones(2).item(),
        RuntimeError,
        r"item: a Tensor with 2 elements cannot be converted to Scalar .*Hint: tolist\(\)",
    ),
    "len": Case(lambda: len(fb.tensor(1.0)), TypeError, r"len\(\) of a 0-d tensor"),
    "format": Case(
        lambda: f"{fb.ones(2):.3f}",
        TypeError,
        r"unsupported format string passed to Tensor\.__format__: '\.3f'.*Hint: x\.item\(\)",
    ),
    "numpy of grad": Case(
        lambda: leaf(2).numpy(), RuntimeError, r"Use tensor\.detach\(\)\.numpy\(\) instead"
    ),
    "array of grad": Case(
        lambda: np.array(leaf(2)), RuntimeError, r"Use tensor\.detach\(\)\.numpy\(\) instead"
    ),
    # dtypes
    "matmul dtypes": Case(
        lambda: fb.ones(2, 3) @ fb.ones(3, 2, dtype=fb.float64),
        RuntimeError,
        r"matmul: expected all operands to have the same dtype, but got input: \(2, 3\) float32 "
        r"cpu and other: \(3, 2\) float64 cpu\. Hint: input\.to\(flambeau\.float64\)$",
    ),
    "in-place dtype": Case(
        lambda: fb.ones(2, dtype=fb.int64).add_(1.5),
        RuntimeError,
        r"add_: result type float32 can't be cast to the desired output type int64 \(\(2,\) "
        r"int64 cpu\)\. Hint: use the variant",
    ),
    "grad of integers": Case(
        lambda: fb.ones(2, dtype=fb.int64).requires_grad_(),
        RuntimeError,
        r"only Tensors of floating point and complex dtype can require gradients, got \(2,\) "
        r"int64 cpu\. Hint: x\.float\(\)",
    ),
    "no dtype": Case(
        lambda: fb.zeros(2, dtype="float32"),
        TypeError,
        "dtype must be a flambeau dtype .*got 'float32'",
    ),
    # arguments
    "number for a tensor": Case(
        lambda: fb.relu(3),
        TypeError,
        r"relu\(\): argument 'input' must be Tensor, not int\. Hint: flambeau\.tensor",
    ),
    "None": Case(
        lambda: fb.ones(2) + None,
        TypeError,
        r"add\(\): argument 'other' must be Tensor or a number, not NoneType",
    ),
    "grad of a wrong type": Case(
        lambda: setattr(leaf(2), "grad", 1),
        TypeError,
        "assigned grad must be a Tensor or None, got int",
    ),
    "grad of a wrong shape": Case(
        lambda: setattr(leaf(2), "grad", fb.ones(3)),
        RuntimeError,
        r"assigned grad has \(3,\) float32 cpu, the tensor is \(2,\) float32 cpu",
    ),
    "data of a wrong type": Case(
        lambda: setattr(leaf(2), "data", 1), TypeError, "data: needs a Tensor, got int"
    ),
    # devices
    "two devices": Case(
        lambda: fb.ones(2) + fb.ones(2, device="meta"),
        RuntimeError,
        r"add: Expected all tensors to be on the same device, .* cpu and meta \(input: \(2,\) float32 "
        r"cpu; other: \(2,\) float32 meta\)\. Hint: other\.to\('cpu'\)$",
    ),
    "unknown device": Case(
        lambda: fb.ones(2, device="nope"),
        RuntimeError,
        r"no installed package provides device 'nope'; installed: .*cpu",
    ),
    # autograd
    "in-place on a leaf": Case(
        lambda: leaf(3).add_(1),
        RuntimeError,
        r"add_: a leaf Variable that requires grad is being used in an in-place operation \(\(3,\) float32 cpu\)\. "
        r"Hint: wrap the update in `with no_grad\(\):`",
    ),
    "assignment to a leaf": Case(
        lambda: assign(leaf(3), 0, 1.0),
        RuntimeError,
        r"a view of a leaf Variable that requires grad is being used in an in-place operation",
    ),
    "backward of a vector": Case(
        lambda: (leaf(3) * 2).backward(),
        RuntimeError,
        r"grad can be implicitly created only for scalar outputs, got \(3,\) float32 cpu\. "
        r"Hint: .*\.sum\(\) or \.mean\(\)",
    ),
    "backward twice": Case(
        twice,
        RuntimeError,
        r"MulBackward0: Trying to backward through the graph a second time: .*Hint: recompute "
        r"the loss inside the loop, "
        r"or call backward\(retain_graph=True\)",
    ),
    "backward of a constant": Case(
        lambda: fb.ones(1).backward(),
        RuntimeError,
        r"element 0 of tensors does not require grad and does not have a grad_fn: no tensor it was computed from "
        r"requires grad.*Hint: x\.requires_grad_\(\)",
    ),
    "backward within no_grad": Case(
        without_grad,
        RuntimeError,
        r"does not require grad .*gradients are switched off by no_grad\(\)",
    ),
    "saved value changed": Case(
        stale,
        RuntimeError,
        r"ExpBackward0: one of the variables needed for gradient computation has been modified "
        r"by an inplace operation: a "
        r"tensor of shape \(3,\) is at version 1, expected version 0\. Hint: clone\(\)",
    ),
    "unused input": Case(
        lambda: fb.autograd.grad(leaf(2).sum(), leaf(3)),
        RuntimeError,
        r"appears to not have been used in the graph \(\(3,\) float32 cpu\)\. Hint: set allow_unused=True",
    ),
    "hook's result": Case(
        lambda: hooked(5).backward(),
        TypeError,
        "hook: expected a Tensor, but the hook returned int",
    ),
    "function without backward": Case(
        lambda: no_backward().backward(),
        NotImplementedError,
        r"You must implement the backward function for custom autograd\.Function",
    ),
}


def hooked(result):
    y = leaf(2) * 2
    y.register_hook(lambda g: result)
    return (y * leaf(2)).sum()


def no_backward():
    class Half(fb.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.sum() / 2

    return Half.apply(leaf(2))


@pytest.mark.parametrize("name", CORE)
def test_core(name):
    case = CORE[name]
    with pytest.raises(case.error, match=r"(?s)" + case.match) as caught:
        case.run()
    assert isinstance(caught.value, fb.errors.FlambeauError)


@pytest.mark.skipif(fb.cuda.is_available(), reason="a GPU-like device stands behind 'cuda'")
def test_cuda_without_a_gpu():
    with pytest.raises(
        AssertionError, match=r"no GPU-like device stands behind 'cuda': installed: .*cpu"
    ) as caught:
        fb.ones(2).cuda()
    assert isinstance(caught.value, RuntimeError)


def layers(nn):
    f = nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(10, 5)

        def forward(self, x):
            return self.fc1(x)

    class Hasty(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(2, 2)

    logits = fb.zeros(2, 3)
    return {
        "linear": Case(
            lambda: Net()(fb.randn(3, 4)),
            RuntimeError,
            r"linear: mat1 and mat2 shapes cannot be multiplied \(3x4 and 10x5\): .*expected "
            r"10, got 4 .*Hint: Linear\(4, 5\)"
            r".*in module fc1: Linear\(10->5\)",
        ),
        "linear dtype": Case(
            lambda: nn.Linear(2, 2)(fb.ones(2, 2, dtype=fb.int64)),
            RuntimeError,
            r"linear: expected all operands to have the same dtype, but got input: \(2, 2\) int64 cpu and "
            r"weight: \(2, 2\) float32 cpu\. Hint: input\.to\(flambeau\.float32\)\n  in module",
        ),
        "mse": Case(
            lambda: nn.MSELoss()(fb.ones(3, 1), fb.ones(3)),
            RuntimeError,
            r"mse_loss: input and target must have the same shape, got \(3, 1\) float32 cpu "
            r"and \(3,\) float32 cpu; .*"
            r"Hint: target\.unsqueeze\(-1\)",
        ),
        "target out of range": Case(
            lambda: f.cross_entropy(logits, fb.tensor([0, 3])),
            IndexError,
            r"cross_entropy: Target 3 is out of bounds: classes are 0 to 2, as input is \(2, 3\)",
        ),
        "target dtype": Case(
            lambda: f.cross_entropy(logits, fb.tensor([0.0, 1.0])),
            RuntimeError,
            r"cross_entropy: expected scalar type Long .* got target \(2,\) float32 cpu .*Hint: target\.long\(\)",
        ),
        "target batch": Case(
            lambda: f.cross_entropy(logits, fb.tensor([0, 1, 2])),
            ValueError,
            r"cross_entropy: Expected input batch_size \(2\) to match target batch_size \(3\)",
        ),
        "bce outside [0, 1]": Case(
            lambda: f.binary_cross_entropy(fb.tensor([1.5]), fb.tensor([1.0])),
            RuntimeError,
            r"binary_cross_entropy: all elements of input should be between 0 and 1, got "
            r"1\.5.*Hint: binary_cross_entropy_with",
        ),
        "bce shape": Case(
            lambda: f.binary_cross_entropy(fb.ones(3, 1), fb.ones(3)),
            ValueError,
            r"binary_cross_entropy: Using a target size .* different to the input size",
        ),
        "embedding": Case(
            lambda: nn.Embedding(3, 2)(fb.tensor([5])),
            IndexError,
            r"embedding: index out of range in self: 5 is not in \[0, 2\] \(weight: \(3, 2\) float32 cpu\)\. "
            r"Hint: num_embeddings must be larger than the largest index",
        ),
        "convolution": Case(
            lambda: nn.Conv2d(3, 4, 3)(fb.ones(1, 1, 8, 8)),
            RuntimeError,
            r"conv2d: Given groups=1, weight of size \[4, 3, 3, 3\], expected input\[1, 1, 8, "
            r"8\] to have 3 channels, but got 1",
        ),
        "state_dict": Case(
            lambda: Net().load_state_dict({"fc1.weight": fb.zeros(5, 9), "foo": fb.zeros(1)}),
            RuntimeError,
            r"Error\(s\) in loading state_dict for Net:.*Missing key\(s\).*fc1\.bias.*Unexpected key\(s\).*foo.*"
            r"size mismatch for fc1\.weight(?!.*Hint)",
        ),
        "state_dict keys": Case(
            lambda: Net().load_state_dict({"fc1.weight": fb.zeros(5, 10), "foo": fb.zeros(1)}),
            RuntimeError,
            r"Missing key\(s\).*fc1\.bias.*Unexpected key\(s\).*foo.*\nHint: strict=False loads what fits$",
        ),
        "no super().__init__()": Case(
            Hasty,
            AttributeError,
            r"before Module\.__init__\(\) call\. Hint: call super\(\)\.__init__\(\) first",
        ),
        "in-place on a parameter": Case(
            lambda: nn.Linear(2, 2).weight.sub_(1),
            RuntimeError,
            r"sub_: a leaf Variable that requires grad .*Hint: wrap the update in `with no_grad\(\):`",
        ),
    }


LAYERS = (
    "linear", "linear dtype", "mse", "target out of range", "target dtype", "target batch", "bce outside [0, 1]",
    "bce shape", "embedding", "convolution", "state_dict", "state_dict keys", "no super().__init__()",
    "in-place on a parameter",
)  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    cases = layers(pytest.importorskip("flambeau.nn"))
    assert set(cases) == set(LAYERS)
    case = cases[name]
    with pytest.raises(case.error) as caught:
        case.run()
    assert re.search(case.match, str(caught.value), re.DOTALL), str(caught.value)
    assert isinstance(caught.value, fb.errors.FlambeauError)


def test_steps_from_optim():
    optim = pytest.importorskip("flambeau.optim")
    with pytest.raises(ValueError, match="optimizer got an empty parameter list"):
        optim.SGD([], lr=0.1)
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        optim.SGD([leaf(2)], lr=-1)
