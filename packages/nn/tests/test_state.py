"""state_dict and load_state_dict."""

from collections import OrderedDict

import pytest

import flambeau as fb
from flambeau import nn


def model():
    net = nn.Sequential(OrderedDict(a=nn.Linear(2, 3), b=nn.Linear(3, 1)))
    net.register_buffer("steps", fb.zeros(()))
    net.register_buffer("scratch", fb.zeros(2), persistent=False)
    return net


def test_keys_order_and_metadata():
    state = model().state_dict()
    assert list(state) == ["steps", "a.weight", "a.bias", "b.weight", "b.bias"]
    assert state._metadata == OrderedDict(
        [("", {"version": 1}), ("a", {"version": 1}), ("b", {"version": 1})]
    )
    assert not state["a.weight"].requires_grad
    assert list(model().state_dict(prefix="net."))[1] == "net.a.weight"


def test_values_share_memory():
    net = model()
    state = net.state_dict()
    with fb.no_grad():
        net.a.bias.zero_()
    assert state["a.bias"].tolist() == [0, 0, 0]
    assert net.state_dict(keep_vars=True)["a.bias"] is net.a.bias


def test_round_trip():
    one, two = model(), model()
    assert repr(two.load_state_dict(one.state_dict())) == "<All keys matched successfully>"
    assert two.a.weight.tolist() == one.a.weight.tolist()


def test_mismatches_are_listed_together():
    state = model().state_dict()
    del state["a.bias"]
    state["c.weight"] = fb.ones(1)
    state["b.weight"] = fb.ones(4, 4)
    with pytest.raises(RuntimeError) as caught:
        model().load_state_dict(state)
    assert str(caught.value) == (
        'Error(s) in loading state_dict for Sequential:\n\tMissing key(s) in state_dict: "a.bias". \n\t'
        'Unexpected key(s) in state_dict: "c.weight". \n\t'
        "size mismatch for b.weight: copying a param with shape flambeau.Size([4, 4]) from checkpoint, the "
        "shape in current "
        "model is flambeau.Size([1, 3])."
    )


def test_not_strict():
    result = model().load_state_dict({"a.bias": fb.ones(3), "x": fb.ones(1)}, strict=False)
    assert result.missing_keys == ["steps", "a.weight", "b.weight", "b.bias"]
    assert result.unexpected_keys == ["x"]
    assert repr(result).startswith("_IncompatibleKeys(missing_keys=['steps'")


def test_assign_takes_the_tensors():
    net = model()
    weight = fb.ones(3, 2, dtype=fb.float64)
    net.load_state_dict({**net.state_dict(), "a.weight": weight}, assign=True)
    assert net.a.weight.dtype is fb.float64
    assert isinstance(net.a.weight, nn.Parameter)
    assert net.a.weight.requires_grad


def test_wrong_types():
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like, got <class 'list'>"):
        model().load_state_dict([])
    with pytest.raises(
        RuntimeError, match='While copying the parameter named "a.bias", expected Tensor'
    ):
        model().load_state_dict({**model().state_dict(), "a.bias": 3})


def test_hooks():
    net = model()
    calls = []
    net.register_state_dict_pre_hook(lambda m, prefix, keep: calls.append("pre"))
    handle = net.register_state_dict_post_hook(lambda m, state, prefix, meta: state.pop("steps"))
    with pytest.raises(RuntimeError, match="state_dict post-hook must return None"):
        net.state_dict()
    handle.remove()
    net.register_state_dict_post_hook(lambda m, state, prefix, meta: state.__delitem__("steps"))
    calls.clear()
    assert "steps" not in net.state_dict()
    assert calls == ["pre"]

    def rename(module, state, prefix, meta, strict, missing, unexpected, errors):
        state[prefix + "steps"] = fb.ones(())

    def forgive(module, keys):
        keys.missing_keys.clear()

    net.register_load_state_dict_pre_hook(rename)
    net.register_load_state_dict_post_hook(forgive)
    net.load_state_dict({})
    assert net.steps.item() == 1


def test_extra_state():
    class Counting(nn.Module):
        n = 3

        def get_extra_state(self):
            return {"n": self.n}

        def set_extra_state(self, state):
            self.n = state["n"]

    a, b = Counting(), Counting()
    a.n = 7
    assert list(a.state_dict()) == ["_extra_state"]
    b.load_state_dict(a.state_dict())
    assert b.n == 7
    with pytest.raises(RuntimeError, match='Missing key.*"_extra_state"'):
        b.load_state_dict({})
