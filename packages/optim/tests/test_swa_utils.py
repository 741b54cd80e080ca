from __future__ import annotations

import numpy as np
import pytest

import flambeau as fb
from flambeau.optim import swa_utils

nn = pytest.importorskip("flambeau.nn", reason="flambeau-nn is not installed")
from flambeau.optim.swa_utils import (  # noqa: E402
    AveragedModel,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    get_swa_avg_fn,
    get_swa_multi_avg_fn,
)


def models(**options):
    """A model, its average after five updates, and the weights it had."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    average, seen = AveragedModel(model, **options), []
    for step in range(5):
        with fb.no_grad():
            for p in model.parameters():
                p.fill_(float(step * step))
        average.update_parameters(model)
        seen.append(float(step * step))
    return model, average, seen


def weights(model):
    return [p.detach().numpy().ravel() for p in model.parameters()]


@pytest.mark.parametrize(
    "options",
    [{}, {"avg_fn": get_swa_avg_fn()}, {"multi_avg_fn": get_swa_multi_avg_fn()}],
)
def test_equal_weights(options):
    _, average, seen = models(**options)
    for w in weights(average):
        np.testing.assert_allclose(w, np.mean(seen), rtol=1e-6)
    assert average.n_averaged.item() == 5


@pytest.mark.parametrize(
    "options", [{"avg_fn": get_ema_avg_fn(0.9)}, {"multi_avg_fn": get_ema_multi_avg_fn(0.9)}]
)
def test_moving_average(options):
    _, average, seen = models(**options)
    expected = seen[0]
    for value in seen[1:]:
        expected = 0.9 * expected + 0.1 * value
    for w in weights(average):
        np.testing.assert_allclose(w, expected, rtol=1e-5)


def test_the_average_is_a_module_of_its_own():
    model, average, _ = models()
    assert average(fb.ones(4, 2)).shape == (4, 1)
    assert average.module is not model
    assert "n_averaged" in average.state_dict()
    assert "module.0.weight" in average.state_dict()
    again = AveragedModel(model, device="cpu")
    again.load_state_dict(average.state_dict())
    for a, b in zip(weights(again), weights(average), strict=True):
        np.testing.assert_array_equal(a, b)
    assert AveragedModel.__module__ == "flambeau.optim.swa_utils"


class WithBuffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", fb.zeros(2))


@pytest.mark.parametrize("use", [False, True])
def test_buffers_are_copied_or_averaged(use):
    model = WithBuffer()
    average = AveragedModel(model, use_buffers=use)
    for value in (1.0, 3.0):
        model.seen.fill_(value)
        average.update_parameters(model)
    assert average.module.seen.tolist() == ([2.0, 2.0] if use else [3.0, 3.0])


def test_batch_norm_statistics():
    norm = nn.BatchNorm1d(3, momentum=0.5)
    model = nn.Sequential(norm)
    model.eval()
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal((8, 3)).astype("float32") for _ in range(4)]
    swa_utils.update_bn([(fb.tensor(b), None) for b in batches], model, device="cpu")
    np.testing.assert_allclose(
        norm.running_mean.numpy(), np.mean([b.mean(0) for b in batches], 0), atol=1e-6
    )
    variance = np.mean([b.var(0, ddof=1) for b in batches], 0)
    np.testing.assert_allclose(norm.running_var.numpy(), variance, rtol=1e-5)
    assert norm.momentum == 0.5
    assert not model.training


def test_models_without_batch_norm_are_not_run():
    swa_utils.update_bn(iter(()), nn.Linear(1, 1))


def test_refused():
    for make in (get_ema_avg_fn, get_ema_multi_avg_fn):
        with pytest.raises(ValueError, match=r"Invalid decay value 1\.5 provided"):
            make(1.5)
    with pytest.raises(
        AssertionError, match="Only one of avg_fn and multi_avg_fn should be provided"
    ):
        AveragedModel(nn.Linear(1, 1), avg_fn=get_swa_avg_fn(), multi_avg_fn=get_swa_multi_avg_fn())
    with pytest.raises(AttributeError, match="has no attribute 'Average'"):
        swa_utils.Average
