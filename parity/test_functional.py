"""torch.nn.functional, torch.nn.init and torch.nn.utils: the names, their arguments, and what no layer reaches."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

RTOL = {"float64": 1e-7, "float32": 1e-5}
HELPER = "a helper of PyTorch's own"
#: Modules and what of them is not here, with the reason.
MISSING = {
    "nn.functional": {
        "assert_int_or_pair": HELPER,
        "boolean_dispatch": HELPER,
        "handle_torch_function": HELPER,
        "has_torch_function": HELPER,
        "has_torch_function_unary": HELPER,
        "has_torch_function_variadic": HELPER,
        "grouped_mm": "for GPUs of one maker",
        "scaled_grouped_mm": "for GPUs of one maker",
        "scaled_mm": "for GPUs of one maker",
    },
    "nn.init": {},
    "nn.utils": {
        "clip_grad_norm": "deprecated in favour of clip_grad_norm_",
        "convert_conv2d_weight_memory_format": "there is one memory layout here",
        "convert_conv3d_weight_memory_format": "there is one memory layout here",
    },
    "nn.utils.rnn": {"PackedSequence_": HELPER, "bind": HELPER, "copy_method_params": HELPER},
    "nn.utils.parametrize": {},
    "nn.utils.parametrizations": {},
    "optim.swa_utils": {},
}  # fmt: skip
#: Expressions of inputs x, y, ...; what layers do not reach or reach with other arguments.
CASES: dict[str, list[Any]] = {
    "F.one_hot(x)": [lambda d: d.given(0, 3, 1)],
    "F.one_hot(x, 6)": [lambda d: d.ints(5, 2, 3)],
    "F.normalize(x)": [(3, 4)],
    "F.normalize(x, p=3.0, dim=0, eps=1e-3)": [(3, 4)],
    "F.pad(x, (1, 2))": [(2, 3, 4)],
    "F.pad(x, (1, -1, 0, 2), value=3.0)": [(2, 3, 4)],
    "F.pad(x, (2, 1), mode='reflect')": [(2, 3, 4)],
    "F.pad(x, (2, 1, 0, 1), mode='replicate')": [(2, 3, 4, 5)],
    "F.pad(x, (2, 1, 1, 0), mode='circular')": [(2, 3, 4, 5)],
    "F.grid_sample(x, y, align_corners=False)": [(2, 3, 4, 5), (2, 6, 7, 2)],
    "F.grid_sample(x, y, 'nearest', 'border', True)": [
        (2, 3, 4, 5), lambda d: d.uniform(-1.3, 1.3, 2, 6, 7, 2, grad=False),
    ],
    "F.grid_sample(x, y, 'bicubic', 'reflection', False)": [(2, 3, 4, 5), (2, 6, 7, 2)],
    "F.grid_sample(x, y, 'bilinear', 'zeros', True)": [(2, 3, 4, 5, 3), (2, 6, 7, 2, 3)],
    "F.affine_grid(x, (2, 3, 4, 5), align_corners=False)": [(2, 2, 3)],
    "F.affine_grid(x, (2, 3, 4, 5, 6), align_corners=True)": [(2, 3, 4)],
    "F.interpolate(x, scale_factor=0.6, mode='area')": [(2, 3, 9, 8)],
    "F.interpolate(x, size=(4, 5), mode='bilinear', antialias=True)": [(2, 3, 9, 8)],
    "F.interpolate(x, size=(12, 5), mode='bicubic', antialias=True)": [(2, 3, 9, 8)],
    "F.scaled_dot_product_attention(x, y, z)": [(2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 6, 7)],
    "F.scaled_dot_product_attention(x, y, z, is_causal=True)": [(2, 3, 5, 4), (2, 3, 6, 4), (2, 3, 6, 4)],
    "F.scaled_dot_product_attention(x, y, z, w, scale=0.3)": [(2, 5, 4), (2, 6, 4), (2, 6, 4), (5, 6)],
    "F.scaled_dot_product_attention(x, y, z, w)": [(2, 5, 4), (2, 6, 4), (2, 6, 4), lambda d: d.flags(5, 6)],
    "F.scaled_dot_product_attention(x, y, z, enable_gqa=True)": [(2, 6, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4)],
    "F.softmax(x, -1, dtype=T.float64)": [(3, 4)],
    "F.log_softmax(x, 0, dtype=T.float64)": [(3, 4)],
    "F.glu(x, 0)": [(4, 3)],
    "F.prelu(x, y)": [(2, 3, 4), (3,)],
    "F.bilinear(x, y, z)": [(2, 3), (2, 4), (5, 3, 4)],
    "F.cosine_similarity(x, y, dim=0)": [(3, 4), (3, 1)],
    "F.pairwise_distance(x, y, p=3.0, keepdim=True)": [(3, 4), (4,)],
    "F.pdist(x)": [(5, 4)],
    "F.lp_pool2d(x, 3.0, 2)": [lambda d: d.uniform(0.1, 1.0, 2, 3, 4, 4)],
    "F.conv_transpose1d(x, y, stride=2, output_padding=1)": [(2, 3, 5), (3, 4, 3)],
    "F.conv2d(x, y, z, padding='same', groups=2)": [(2, 4, 5, 6), (6, 2, 3, 4), (6,)],
    "F.layer_norm(x, (4,), y, z)": [(3, 4), (4,), (4,)],
    "F.rms_norm(x, (4,), y)": [(3, 4), (4,)],
    "F.group_norm(x, 2, y, z)": [(3, 4, 5), (4,), (4,)],
    "F.instance_norm(x, weight=y)": [(3, 4, 5), (4,)],
    "F.batch_norm(x, None, None, y, z, True)": [(3, 4, 5), (4,), (4,)],
    "F.local_response_norm(x, 3)": [(3, 4, 5)],
    "F.embedding(x, y, max_norm=None, scale_grad_by_freq=True)": [lambda d: d.given(1, 1, 0), (5, 3)],
    "F.mse_loss(x, y, weight=z)": [(3, 4), (3, 4), lambda d: d.uniform(0.1, 1.0, 3, 4, grad=False)],
    "F.smooth_l1_loss(x, y, beta=0.2)": [(3, 4), (3, 4)],
    "F.binary_cross_entropy_with_logits(x, y, pos_weight=z)": [
        (3, 4), lambda d: d.uniform(0, 1, 3, 4), lambda d: d.uniform(0.1, 2.0, 4, grad=False),
    ],
    "F.cross_entropy(x, y, label_smoothing=0.3, reduction='sum')": [(3, 4), lambda d: d.ints(4, 3)],
    "F.multi_margin_loss(x, y, p=2)": [(3, 4), lambda d: d.ints(4, 3)],
    "F.channel_shuffle(x, 2)": [(2, 4, 3)],
    "F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)": [(2, 3, 4, 6)],
    "F.dropout(x, 0.4, training=False)": [(3, 4)],
    "F.gumbel_softmax(x * 1e30, tau=1e-3, hard=True)": [(3, 4)],
}  # fmt: skip
#: Initialisers that draw, on a tensor of this shape.
DRAWN = {
    "uniform_(t, -0.3, 0.7)": (60, 50), "normal_(t, 0.5, 0.2)": (60, 50),
    "trunc_normal_(t, 0.1, 0.5, -0.6, 0.4)": (60, 50),
    "xavier_uniform_(t, 1.5)": (60, 20, 3), "xavier_normal_(t)": (60, 20, 3), "kaiming_uniform_(t, 0.3)": (60, 20, 3),
    "kaiming_uniform_(t, mode='fan_out', nonlinearity='tanh')": (60, 20, 3), "kaiming_normal_(t)": (60, 20, 3),
    "sparse_(t, 0.3)": (60, 50), "orthogonal_(t, 1.3)": (60, 50),
}  # fmt: skip
FIXED = {
    "constant_(t, 0.3)": (3, 4), "ones_(t)": (3, 4), "zeros_(t)": (3, 4), "eye_(t)": (3, 4),
    "dirac_(t)": (4, 3, 3), "dirac_(t, 2)": (4, 3, 3, 5),
}  # fmt: skip


def path(framework: Any, name: str) -> Any:
    for part in name.split("."):
        framework = getattr(framework, part)
    return framework


@pytest.mark.parametrize("name", MISSING)
def test_names_and_arguments(oracle: Any, name: str) -> None:
    """Every public function and class of PyTorch's module, with the same arguments, or a reason."""
    theirs, ours = (path(T, name) for T in oracle.both)
    own = {
        n
        for n, each in vars(theirs).items()
        if n[0] != "_"
        and callable(each)
        and str(getattr(each, "__module__", "torch")).startswith(("torch", "None"))
        and (hasattr(each, "__name__") and each.__name__ != "TypeVar")
        and not is_borrowed(each, name, oracle)
    }
    assert {n for n in own if not hasattr(ours, n)} == set(MISSING[name]) & own
    for n in sorted(own - set(MISSING[name])):
        told = [arguments(getattr(each, n)) for each in (theirs, ours)]
        if None not in told:
            assert told[0] == told[1], f"{name}.{n}"


def is_borrowed(each: Any, name: str, oracle: Any) -> bool:
    """What a module only imports from elsewhere in PyTorch, for its own use."""
    home = getattr(each, "__module__", None) or ""
    inside = f"torch.{name}"
    if name == "nn.functional":  # most of it comes from the C++ side and torch._jit_internal
        return isinstance(each, type) or home in {"typing", "collections.abc"}
    return not home.startswith(inside)


def arguments(function: Any) -> list[tuple[str, str, str]] | None:
    """Names, kinds and defaults, or None where PyTorch hides them."""
    try:
        found = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    if {p.kind.name for p in found} >= {"VAR_POSITIONAL", "VAR_KEYWORD"}:
        return None
    told = []
    for p in found:
        default = getattr(p.default, "__name__", None) or repr(p.default)
        if p.name != "broadcast":  # ours alone: the opt-out of the refusal to broadcast
            told.append((p.name, p.kind.name, default))
    return told


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("dtype", RTOL)
@pytest.mark.parametrize("text", CASES)
def test_function(oracle: Any, text: str, dtype: str) -> None:
    arrays = oracle.arrays(CASES[text], dtype)
    found = []
    for T in oracle.both:
        known = {"T": T, "F": T.nn.functional}

        def call(*inputs: Any, known: Any = known) -> Any:
            return eval(text, {**known, **dict(zip("xyzw", inputs, strict=False))})

        found.append(oracle.run(T, call, arrays))
    for what, theirs, ours in zip(("outputs", "gradients"), *found, strict=True):
        oracle.compare(theirs, ours, RTOL[dtype], what)


@pytest.mark.parametrize("text", {**DRAWN, **FIXED})
def test_init(oracle: Any, text: str) -> None:
    shape = {**DRAWN, **FIXED}[text]
    drawn = []
    for T in oracle.both:
        T.manual_seed(0)
        known = {**vars(T.nn.init)}
        tensors = [T.full(shape, 7.0, dtype=T.float64) for _ in range(8 if text in DRAWN else 1)]
        for t in tensors:
            assert eval(text, {**known, "t": t}) is t
        drawn.append(np.stack([oracle.numbers(t) for t in tensors]))
    a, b = drawn
    if text in FIXED:
        np.testing.assert_array_equal(b, a)
        return
    error = 6 * a.std() * (2 / a.size) ** 0.5
    assert abs(a.mean() - b.mean()) < error
    assert abs(a.std() - b.std()) < error
    edges = np.quantile(a, [0.01, 0.1, 0.3, 0.7, 0.9, 0.99])
    shares = [np.searchsorted(np.sort(x.ravel()), edges) / x.size for x in (a, b)]
    assert np.abs(shares[0] - shares[1]).max() < 3 * (2 / a.size) ** 0.5
    if text.startswith("orthogonal_"):
        for q in b:
            np.testing.assert_allclose(q.T @ q, 1.3**2 * np.eye(50), atol=1e-6)
    if text.startswith("sparse_"):
        np.testing.assert_array_equal((b == 0).sum(1), (a == 0).sum(1))


@pytest.mark.parametrize(
    "name",
    ["linear", "conv1d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"],
)
def test_gain(oracle: Any, name: str) -> None:
    theirs, ours = (T.nn.init.calculate_gain(name) for T in oracle.both)
    assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "clip_grad_norm_(ps, 0.5)",
        "clip_grad_norm_(ps, 0.5, norm_type=1.0)",
        "clip_grad_norm_(ps, 0.5, float('inf'))",
        "clip_grad_norm_(ps, 1e6)",
        "clip_grad_value_(ps, 0.1)",
        "get_total_norm([p.grad for p in ps], 3.0)",
        "parameters_to_vector(ps)",
        "vector_to_parameters(parameters_to_vector(ps) * 2, ps)",
    ],
)
def test_utils(oracle: Any, text: str) -> None:
    found = []
    for T in oracle.both:
        rng = np.random.default_rng(0)
        ps = [T.nn.Parameter(T.tensor(rng.standard_normal(s))) for s in ((3, 4), (5,), (1,))]
        for p in ps:
            p.grad = T.tensor(rng.standard_normal(tuple(p.shape)))
        result = eval(text, {**vars(T.nn.utils), "ps": ps})
        found.append([*oracle.leaves(result), *ps, *(p.grad for p in ps)])
    oracle.compare(*found, RTOL["float64"], text)


@pytest.mark.parametrize(
    "text",
    [
        "nn.utils.parametrizations.weight_norm(Linear(4, 3))",
        "nn.utils.parametrizations.weight_norm(Conv2d(2, 3, 3), dim=1)",
        "nn.utils.parametrizations.weight_norm(Linear(4, 3), dim=None)",
        "nn.utils.parametrizations.spectral_norm(Linear(4, 3), n_power_iterations=3)",
        "nn.utils.parametrizations.spectral_norm(Conv2d(2, 3, 3), dim=1)",
        "nn.utils.parametrizations.orthogonal(Linear(4, 3), orthogonal_map='cayley')",
        "nn.utils.parametrizations.orthogonal(Linear(3, 4), orthogonal_map='matrix_exp')",
        "nn.utils.parametrizations.orthogonal(Linear(4, 4), orthogonal_map='householder')",
        "nn.utils.parametrizations.orthogonal(Linear(3, 5), orthogonal_map='householder')",
        "nn.utils.parametrizations.orthogonal(Linear(5, 3), orthogonal_map='householder', use_trivialization=False)",
    ],
)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_parametrizations(oracle: Any, text: str, training: bool) -> None:
    """State names, printed form, output, gradients, and the state afterwards."""
    theirs, ours = (oracle.build(T, text) for T in oracle.both)
    oracle.same_text(theirs, ours)
    oracle.load(theirs, ours)
    theirs.train(training)
    ours.train(training)
    arrays = oracle.arrays([(2, 2, 5, 5) if "Conv" in text else (3, theirs.in_features)], "float64")
    found = []
    for T, module in zip(oracle.both, (theirs, ours), strict=True):
        outputs, grads = oracle.run(T, module, arrays)
        named = [p.grad for _, p in sorted(module.named_parameters())]
        found.append([*outputs, *grads, *named, *module.state_dict().values(), module.weight])
    assert sorted(dict(theirs.named_parameters())) == sorted(dict(ours.named_parameters()))
    oracle.compare(*found, 1e-6, text)


@pytest.mark.parametrize("name", ["householder", "cayley", "matrix_exp"])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_orthogonal_starts(oracle: Any, name: str, shape: tuple[int, int]) -> None:
    """Of a weight whose columns or rows are orthonormal already, that same weight."""
    tall = np.random.default_rng(0).standard_normal((max(shape), min(shape)))
    weight = np.linalg.qr(tall)[0]
    weight = weight if shape[0] >= shape[1] else weight.T
    found = []
    for T in oracle.both:
        layer = oracle.build(T, f"Linear({shape[1]}, {shape[0]})")
        with T.no_grad():
            layer.weight.copy_(T.tensor(weight.copy()))
        T.nn.utils.parametrizations.orthogonal(layer, orthogonal_map=name)
        found.append(oracle.numbers(layer.weight))
        np.testing.assert_allclose(found[-1], weight, atol=1e-7)
        original = oracle.numbers(layer.parametrizations.weight.original)
        np.testing.assert_array_equal(original, -np.eye(*shape))


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
def test_norms_under_their_old_names(oracle: Any, name: str) -> None:
    """The same weights; ours are the parametrizations of these names, and so is their state."""
    theirs, ours = (oracle.build(T, "Linear(6, 4)") for T in oracle.both)
    oracle.load(theirs, ours)
    more = {"n_power_iterations": 200} if name == "spectral_norm" else {}
    arrays = oracle.arrays([(3, 6)], "float64")
    found = []
    for T, layer in zip(oracle.both, (theirs, ours), strict=True):
        getattr(T.nn.utils, name)(layer, **more)
        found.append(oracle.run(T, layer, arrays))
    oracle.compare(found[0][0], found[1][0], 1e-6, "output")
    oracle.compare(found[0][1], found[1][1], 1e-6, "gradient")


def test_padding_and_packing(oracle: Any) -> None:
    found = []
    for T in oracle.both:
        rng = np.random.default_rng(0)
        seqs = [T.tensor(rng.standard_normal((n, 2))) for n in (3, 1, 4)]
        rnn = T.nn.utils.rnn
        padded = [
            rnn.pad_sequence(seqs, **each)
            for each in (
                {},
                {"batch_first": True, "padding_value": 2.0},
                {"batch_first": True, "padding_side": "left"},
            )
        ]
        packed = rnn.pack_sequence(seqs, enforce_sorted=False)
        again = rnn.unpack_sequence(packed)
        trimmed = rnn.unpad_sequence(padded[1], T.tensor([3, 1, 4]), batch_first=True)
        found.append([*padded, *oracle.leaves(tuple(packed)), *again, *trimmed])
    oracle.compare(*found, RTOL["float64"], "sequences")


def test_functional_call(oracle: Any) -> None:
    """A module run with other parameters, whose gradients they receive."""
    text = "Sequential(Linear(4, 3, bias=False), BatchNorm1d(3), Linear(3, 2))"
    theirs, ours = (oracle.build(T, text) for T in oracle.both)
    oracle.load(theirs, ours)
    found = []
    for T, module in zip(oracle.both, (theirs, ours), strict=True):
        rng = np.random.default_rng(0)
        given = {
            name: T.tensor(rng.standard_normal(tuple(p.shape))).requires_grad_()
            for name, p in module.named_parameters()
        }
        x = T.tensor(rng.standard_normal((5, 4)))
        call = T.func if T is oracle.theirs else T.nn.utils.stateless
        y = call.functional_call(module, given, (x,))
        (y**2).sum().backward()
        found.append([y, *(p.grad for p in given.values()), *module.state_dict().values()])
    oracle.compare(*found, RTOL["float64"], "functional_call")
