"""Operands on two devices, or of two dtypes: errors speak of the function and the arguments that the user wrote."""

import re

import pytest

import flambeau as fb
from flambeau import nn
from flambeau.errors import DeviceError, DTypeError, FlambeauError, OutOfMemoryError
from flambeau.nn import functional as F


def here(*shape):
    return fb.full(shape, 0.5)


def there(*shape):
    return fb.full(shape, 0.5, device="meta")


def labels(*shape, device="cpu"):
    return fb.zeros(shape, dtype=fb.int64, device=device)


def clash(op, first, second, hint, devices="cpu and meta"):
    """The message for two named operands; each with its shape and dtype."""
    a, b = devices.split(" and ")
    return re.escape(
        f"{op}: Expected all tensors to be on the same device, but found at least two devices, {devices} "
        f"({first} {a}; {second} {b}). Hint: {hint}"
    )


OF_TWO = (
    "mse_loss l1_loss smooth_l1_loss huber_loss binary_cross_entropy binary_cross_entropy_with_logits kl_div "
    "poisson_nll_loss soft_margin_loss hinge_embedding_loss multilabel_soft_margin_loss"
).split()


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("name", OF_TWO)
def test_losses_of_input_and_target(name, reduction):
    loss = getattr(F, name)
    text = clash(name, "input: (2, 3) float32", "target: (2, 3) float32", "target.to('cpu')")
    with pytest.raises(DeviceError, match=f"^{text}$"):
        loss(here(2, 3), there(2, 3), reduction=reduction)
    with pytest.raises(
        DeviceError, match=rf"^{name}: .* meta and cpu .*Hint: target\.to\('meta'\)$"
    ):
        loss(there(2, 3), here(2, 3), reduction=reduction)


@pytest.mark.parametrize(
    "name",
    [
        "mse_loss",
        "l1_loss",
        "huber_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
    ],
)
def test_weights_of_losses(name):
    text = clash(name, "input: (2, 3) float32", "weight: (2, 3) float32", "weight.to('cpu')")
    with pytest.raises(DeviceError, match=f"^{text}$"):
        getattr(F, name)(here(2, 3), here(2, 3), weight=there(2, 3))


FUNCTIONS = {
    "cross_entropy": (
        lambda: F.cross_entropy(here(2, 3), labels(2, device="meta")),
        ("input: (2, 3) float32", "target: (2,) int64", "target.to('cpu')"),
    ),
    "cross_entropy, weighted": (
        lambda: F.cross_entropy(here(2, 3), labels(2), there(3)),
        ("input: (2, 3) float32", "weight: (3,) float32", "weight.to('cpu')"),
    ),
    "cross_entropy, probabilities": (
        lambda: F.cross_entropy(here(2, 3), there(2, 3)),
        ("input: (2, 3) float32", "target: (2, 3) float32", "target.to('cpu')"),
    ),
    "nll_loss": (
        lambda: F.nll_loss(here(2, 3), labels(2, device="meta")),
        ("input: (2, 3) float32", "target: (2,) int64", "target.to('cpu')"),
    ),
    "margin_ranking_loss": (
        lambda: F.margin_ranking_loss(here(3), here(3), there(3)),
        ("input1: (3,) float32", "target: (3,) float32", "target.to('cpu')"),
    ),
    "triplet_margin_loss": (
        lambda: F.triplet_margin_loss(here(2, 3), here(2, 3), there(2, 3)),
        ("anchor: (2, 3) float32", "negative: (2, 3) float32", "negative.to('cpu')"),
    ),
    "linear": (
        lambda: F.linear(here(4, 3), there(2, 3)),
        ("input: (4, 3) float32", "weight: (2, 3) float32", "weight.to('cpu')"),
    ),
    "conv2d": (
        lambda: F.conv2d(here(3, 4, 4), there(2, 3, 1, 1)),
        ("input: (3, 4, 4) float32", "weight: (2, 3, 1, 1) float32", "weight.to('cpu')"),
    ),
    "batch_norm": (
        lambda: F.batch_norm(here(4, 3), None, None, here(3), there(3), True),
        ("input: (4, 3) float32", "bias: (3,) float32", "bias.to('cpu')"),
    ),
    "batch_norm, statistics": (
        lambda: F.batch_norm(here(4, 3), there(3), there(3), training=True),
        ("input: (4, 3) float32", "running_mean: (3,) float32", "running_mean.to('cpu')"),
    ),
    "layer_norm": (
        lambda: F.layer_norm(here(4, 3), (3,), here(3), there(3)),
        ("input: (4, 3) float32", "bias: (3,) float32", "bias.to('cpu')"),
    ),
    "scaled_dot_product_attention": (
        lambda: F.scaled_dot_product_attention(here(2, 3), there(2, 3), here(2, 3)),
        ("query: (2, 3) float32", "key: (2, 3) float32", "key.to('cpu')"),
    ),
    "scaled_dot_product_attention, masked": (
        lambda: F.scaled_dot_product_attention(*[here(2, 3)] * 3, there(2, 2) > 0),
        ("query: (2, 3) float32", "attn_mask: (2, 2) bool", "attn_mask.to('cpu')"),
    ),
    "cosine_similarity": (
        lambda: F.cosine_similarity(here(2, 3), there(2, 3)),
        ("x1: (2, 3) float32", "x2: (2, 3) float32", "x2.to('cpu')"),
    ),
}


@pytest.mark.parametrize("case", FUNCTIONS)
def test_functions(case):
    call, said = FUNCTIONS[case]
    with pytest.raises(DeviceError, match=f"^{clash(case.partition(',')[0], *said)}$"):
        call()


LAYERS = {
    "linear": (nn.Linear(3, 2), (4, 3), "weight: (2, 3)"),
    "conv1d": (nn.Conv1d(3, 2, 1), (1, 3, 4), "weight: (2, 3, 1)"),
    "conv2d": (nn.Conv2d(3, 2, 1), (1, 3, 4, 4), "weight: (2, 3, 1, 1)"),
    "conv_transpose2d": (nn.ConvTranspose2d(3, 2, 1), (1, 3, 4, 4), "weight: (3, 2, 1, 1)"),
    "batch_norm": (nn.BatchNorm2d(3), (4, 3, 2, 2), "running_mean: (3,)"),
    "layer_norm": (nn.LayerNorm(3), (4, 3), "weight: (3,)"),
    "group_norm": (nn.GroupNorm(1, 3), (4, 3, 2), "weight: (3,)"),
    "instance_norm": (nn.InstanceNorm1d(3, affine=True), (2, 3, 4), "weight: (3,)"),
    "rms_norm": (nn.RMSNorm(3), (4, 3), "weight: (3,)"),
    "prelu": (nn.PReLU(), (2, 3), "weight: (1, 1)"),
    "LSTM": (nn.LSTM(3, 2), (5, 2, 3), "weight_ih_l0: (8, 3)"),
    "GRU": (nn.GRU(3, 2), (5, 2, 3), "weight_ih_l0: (6, 3)"),
    "RNN": (nn.RNN(3, 2), (5, 2, 3), "weight_ih_l0: (2, 3)"),
    "LSTMCell": (nn.LSTMCell(3, 2), (2, 3), "weight_ih: (8, 3)"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_and_their_input(name):
    layer, shape, parameter = LAYERS[name]
    text = clash(
        name,
        f"input: {shape} float32",
        f"{parameter} float32",
        "input.to('cpu'), or model.to('meta')",
        "meta and cpu",
    )
    with pytest.raises(DeviceError, match=rf"^{text}\n  in module {type(layer).__name__}"):
        layer(there(*shape))


def test_indices_of_an_embedding():
    text = clash(
        "embedding",
        "input: (2,) int64",
        "weight: (3, 2) float32",
        "input.to('cpu'), or model.to('meta')",
        "meta and cpu",
    )
    with pytest.raises(DeviceError, match=rf"^{text}\n  in module Embedding"):
        nn.Embedding(3, 2)(labels(2, device="meta"))


def test_the_state_of_a_recurrent_layer():
    text = clash("LSTM", "input: (5, 2, 3) float32", "hx[0]: (1, 2, 2) float32", "hx[0].to('cpu')")
    with pytest.raises(DeviceError, match=rf"^{text}\n"):
        nn.LSTM(3, 2)(here(5, 2, 3), (there(1, 2, 2), there(1, 2, 2)))


def test_a_function_of_ones_own_is_not_named():
    def scale(input, target):
        return input * target

    with pytest.raises(DeviceError, match=r"^mul: .*\(input: .*; other: .*\)\. Hint: other\.to"):
        scale(here(2), there(2))


@pytest.mark.parametrize("name", ["linear", "conv1d", "conv2d", "conv_transpose2d", "LSTM"])
def test_layers_and_an_input_in_double_precision(name):
    layer, shape, parameter = LAYERS[name]
    said = re.escape(
        f"{name}: expected all operands to have the same dtype, but got input: {shape} float64 cpu and "
        f"{parameter} float32 cpu. Hint: input.to(flambeau.float32), or model.to(flambeau.float64)"
    )
    with pytest.raises(RuntimeError, match=rf"^{said}\n  in module") as error:
        layer(fb.ones(shape, dtype=fb.float64))
    assert isinstance(error.value, DTypeError)


@pytest.mark.parametrize(
    ("name", "run", "first", "second"),
    [
        ("matmul", lambda a, b: a @ b, "input", "other"),
        ("mm", fb.mm, "input", "mat2"),
        ("addmm", lambda a, b: fb.addmm(here(2, 2), a, b), "mat1", "mat2"),
        ("linear", lambda a, b: F.linear(a, b.T), "input", "weight"),
    ],
)
def test_matrices_of_two_dtypes(name, run, first, second):
    with pytest.raises(
        RuntimeError,
        match=rf"^{name}: expected all operands to have the same dtype, but got {first}: \(2, 3\) float32 cpu and "
        rf"{second}: .* float64 cpu\. Hint: {first}\.to\(flambeau\.float64\)$",
    ):
        run(here(2, 3), fb.ones(3, 2, dtype=fb.float64))


def test_shapes_that_do_not_broadcast_name_the_function():
    with pytest.raises(RuntimeError, match=r"^soft_margin_loss: the size of tensor a \(3\) must"):
        F.soft_margin_loss(here(2, 4), here(2, 3))


def test_nll_loss_names_itself():
    with pytest.raises(IndexError, match="^nll_loss: Target 5 is out of bounds"):
        F.nll_loss(here(2, 3), fb.tensor([0, 5]))


# ---- memory
def full(*args, **attrs):
    raise MemoryError("no more")


def test_no_room_for_masks():
    with pytest.raises(OutOfMemoryError, match="^dropout: cpu has no room"):
        F.dropout(here(1).expand(10**15))
    with pytest.raises(OutOfMemoryError, match="^one_hot: cpu has no room"):
        F.one_hot(labels(1).expand(10**8), 10**7)


@pytest.mark.parametrize(
    ("op", "kernel", "call"),
    [
        ("linear", "linear", lambda x: F.linear(x, x)),
        ("conv1d", "conv", lambda x: F.conv1d(x[None], x[None])),
        ("layer_norm", "normalize", lambda x: F.layer_norm(x, (3,))),
        ("batch_norm", "batch_norm", lambda x: F.batch_norm(x, None, None, training=True)),
        ("max_pool1d", "max_pool", lambda x: F.max_pool1d(x, 2)),
        ("gelu", "gelu_slope", lambda x: F.gelu(x.requires_grad_())),
        ("cross_entropy", "cross_entropy", lambda x: F.cross_entropy(x, labels(2))),
        (
            "scaled_dot_product_attention",
            "sdpa",
            lambda x: F.scaled_dot_product_attention(x, x, x),
        ),
        ("LSTM", "rnn_layer", lambda x: nn.LSTM(3, 2)(x)),
    ],
)
def test_no_room_for_results(op, kernel, call, monkeypatch):
    x = here(2, 3)
    monkeypatch.setitem(x._kind.k, kernel, full)
    with pytest.raises(
        OutOfMemoryError, match=rf"^{op}: cpu has no room: no more(.|\n)*Hint: a smaller batch"
    ):
        call(x)


class Greedy(nn.Module):
    def forward(self, x):
        raise MemoryError("no more")


def test_no_room_in_a_module_of_ones_own():
    with pytest.raises(
        OutOfMemoryError, match="^Greedy: cpu has no room: no more(.|\n)*in module 0: Greedy"
    ):
        nn.Sequential(Greedy())(here(2))
    hooked = nn.Sequential(Greedy())
    hooked[0].register_forward_hook(lambda *a: None)
    with pytest.raises(OutOfMemoryError, match="^Greedy: cpu has no room: no more") as error:
        hooked(here(2))
    assert isinstance(error.value, FlambeauError)
    assert str(error.value).count("tensors live there") <= 1


def test_no_room_for_a_gradient(monkeypatch):
    layer, x = nn.LayerNorm(3), here(4, 3)
    loss = layer(x).sum()

    monkeypatch.setitem(x._kind.k, "normalize_backward", full)
    with pytest.raises(OutOfMemoryError, match="^backward: cpu has no room: no more"):
        loss.backward()
