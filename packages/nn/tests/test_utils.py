"""Clipping, vectors of parameters, functional calls, parametrizations."""

import copy
import pickle

import numpy as np
import pytest

import flambeau as fb
from flambeau import nn
from flambeau.nn import utils
from flambeau.nn.utils import parametrizations, parametrize
from flambeau.nn.utils.stateless import functional_call


def with_grads(*grads):
    made = []
    for g in grads:
        p = nn.Parameter(fb.zeros(len(g)))
        p.grad = fb.tensor(g)
        made.append(p)
    return made


def test_clip_norm():
    params = with_grads([3.0], [0.0, 4.0])
    assert utils.clip_grad_norm_(params, 1.0).item() == 5
    np.testing.assert_allclose(
        [params[0].grad.item(), *params[1].grad.tolist()], [0.6, 0, 0.8], rtol=1e-5
    )
    assert utils.clip_grad_norm_(params, 10.0).item() == pytest.approx(1)
    assert params[0].grad.item() == pytest.approx(0.6)
    assert utils.clip_grad_norm_(with_grads([3.0], [-7.0]), 1.0, norm_type=float("inf")).item() == 7
    assert utils.clip_grad_norm_([nn.Parameter(fb.ones(1))], 1.0).item() == 0
    with pytest.raises(RuntimeError, match="is non-finite, so it cannot be clipped"):
        utils.clip_grad_norm_(with_grads([float("nan")]), 1.0, error_if_nonfinite=True)
    assert utils.get_total_norm([fb.ones(4), fb.ones(5)]).item() == 3


def test_clip_value():
    (p,) = with_grads([-3.0, 0.05, 2.0])
    utils.clip_grad_value_(p, 0.1)
    np.testing.assert_allclose(p.grad.numpy(), [-0.1, 0.05, 0.1], rtol=1e-6)


def test_vectors():
    layer = nn.Linear(2, 3)
    vector = utils.parameters_to_vector(layer.parameters())
    assert vector.shape == (9,)
    utils.vector_to_parameters(fb.arange(9.0), layer.parameters())
    assert layer.weight.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert layer.bias.tolist() == [6, 7, 8]
    with pytest.raises(TypeError, match="expected flambeau.Tensor, but got: list"):
        utils.vector_to_parameters([1], layer.parameters())


def test_functional_call():
    net = nn.Sequential(nn.Linear(2, 1, bias=False))
    w = fb.tensor([[1.0, 2.0]], requires_grad=True)
    y = functional_call(net, {"0.weight": w}, fb.ones(1, 2))
    y.sum().backward()
    assert y.item() == 3
    assert w.grad.tolist() == [[1, 1]]
    assert isinstance(net[0].weight, nn.Parameter)
    with pytest.raises(RuntimeError, match="'0.nope' is no parameter or buffer of Sequential"):
        functional_call(net, {"0.nope": w}, fb.ones(1, 2))
    with pytest.raises(RuntimeError, match="missing key"):
        functional_call(net, {}, fb.ones(1, 2), strict=True)


class Double(nn.Module):
    def forward(self, x):
        return 2 * x

    def right_inverse(self, x):
        return x / 2


def test_parametrization():
    layer = nn.Linear(2, 2)
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Double())
    np.testing.assert_allclose(layer.weight.detach().numpy(), before.numpy())
    assert list(layer.state_dict()) == ["bias", "parametrizations.weight.original"]
    assert parametrize.is_parametrized(layer, "weight")
    layer.weight = fb.ones(2, 2)
    assert layer.parametrizations.weight.original.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    layer(fb.ones(1, 2)).sum().backward()
    assert layer.parametrizations.weight.original.grad.tolist() == [[2, 2], [2, 2]]
    with parametrize.cached():
        assert layer.weight is layer.weight
    twin = copy.deepcopy(layer)
    assert twin.weight.tolist() == layer.weight.tolist()
    with pytest.raises(RuntimeError, match=r"only supported through state_dict\(\)"):
        pickle.dumps(layer)
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear
    assert layer.weight.tolist() == [[1, 1], [1, 1]]
    assert isinstance(layer.weight, nn.Parameter)


def test_parametrization_errors():
    layer = nn.Linear(2, 2)
    with pytest.raises(
        ValueError,
        match="does not have a parameter, a buffer, or a parametrized element with name 'nope'",
    ):
        parametrize.register_parametrization(layer, "nope", Double())
    with pytest.raises(ValueError, match="may not change the shape of the tensor"):
        parametrize.register_parametrization(layer, "weight", nn.Flatten(0))
    with pytest.raises(ValueError, match="does not have a parametrization on weight"):
        parametrize.remove_parametrizations(layer, "weight")


def test_weight_norm():
    layer = parametrizations.weight_norm(nn.Linear(3, 2))
    assert list(layer.state_dict())[1:] == [
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    ]
    with fb.no_grad():
        layer.parametrizations.weight.original0.fill_(2.0)
    np.testing.assert_allclose(np.linalg.norm(layer.weight.detach().numpy(), axis=1), 2, rtol=1e-5)
    with pytest.warns(FutureWarning, match="deprecated in favor of"):
        utils.weight_norm(nn.Linear(2, 2))


def test_spectral_norm():
    fb.manual_seed(0)
    layer = parametrizations.spectral_norm(nn.Linear(6, 4))
    for _ in range(20):
        layer.weight  # one power iteration each
    assert np.linalg.norm(layer.eval().weight.detach().numpy(), 2) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize("kind", [None, "matrix_exp", "cayley", "householder"])
def test_orthogonal(shape, kind):
    fb.manual_seed(0)
    layer = parametrizations.orthogonal(nn.Linear(*shape), orthogonal_map=kind)
    with fb.no_grad():
        original = layer.parametrizations.weight.original
        # its diagonal holds the reflections' signs
        original += 0.5 * fb.randn(*original.shape) * (1 - fb.eye(*original.shape))
    m = layer.weight.detach().numpy().astype("d")
    small = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-5)
    layer(fb.ones(1, shape[0])).sum().backward()
    assert layer.parametrizations.weight.original.grad is not None
    with pytest.raises(ValueError, match="orthogonal_map has to be one of"):
        parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="qr")


def test_fusion_and_skip_init():
    conv, norm = nn.Conv2d(2, 3, 2).eval(), nn.BatchNorm2d(3).eval()
    with fb.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    x = fb.randn(1, 2, 4, 4)
    fused = utils.fuse_conv_bn_eval(conv, norm)
    np.testing.assert_allclose(
        fused(x).detach().numpy(), norm(conv(x)).detach().numpy(), rtol=1e-4, atol=1e-5
    )
    assert utils.skip_init(nn.Linear, 3, 4).weight.shape == (4, 3)
