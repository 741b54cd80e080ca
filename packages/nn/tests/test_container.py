"""Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict."""

from collections import OrderedDict

import pytest

import flambeau as fb
from flambeau import nn


def test_sequential_is_a_sequence():
    s = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert len(s) == 3
    assert isinstance(s[-1], nn.Linear)
    assert [type(m).__name__ for m in s[:2]] == ["Linear", "ReLU"]
    assert s(fb.ones(4, 2)).shape == (4, 1)
    s[1] = nn.Tanh()
    assert isinstance(s[1], nn.Tanh)
    del s[1]
    assert [n for n, _ in s.named_children()] == ["0", "1"]
    s.append(nn.ReLU()).insert(0, nn.Identity())
    assert [type(m).__name__ for m in s] == ["Identity", "Linear", "Linear", "ReLU"]
    assert type(s.pop(0)).__name__ == "Identity"
    assert len(s + nn.Sequential(nn.ReLU())) == 4
    assert len(s * 2) == 6
    with pytest.raises(IndexError, match="index 5 is out of range"):
        s[5]
    with pytest.raises(TypeError, match="int is not a Module subclass"):
        nn.Sequential(3)


def test_sequential_by_name():
    s = nn.Sequential(OrderedDict(first=nn.Linear(2, 3), second=nn.ReLU()))
    assert s.first is s[0]
    assert (
        repr(s)
        == "Sequential(\n  (first): Linear(in_features=2, out_features=3, bias=True)\n  (second): ReLU()\n)"
    )
    del s[0]
    assert [n for n, _ in s.named_children()] == ["second"]


def test_module_list():
    m = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2), nn.ReLU()])
    assert repr(m) == (
        "ModuleList(\n  (0-1): 2 x Linear(in_features=2, out_features=2, bias=True)\n  (2): ReLU()\n)"
    )
    assert len(list(m.parameters())) == 4
    m.insert(0, nn.Tanh())
    m += [nn.Sigmoid()]
    m.extend([nn.Identity()])
    assert [type(x).__name__ for x in m] == [
        "Tanh",
        "Linear",
        "Linear",
        "ReLU",
        "Sigmoid",
        "Identity",
    ]
    assert isinstance(m[1:3], nn.ModuleList)
    assert next(iter(m.state_dict())) == "1.weight"
    with pytest.raises(
        TypeError, match="ModuleList.extend should be called with an iterable, but got Tanh"
    ):
        m.extend(nn.Tanh())
    with pytest.raises(NotImplementedError, match="ModuleList"):
        m(1)


def test_module_dict():
    m = nn.ModuleDict({"a": nn.Linear(2, 2)})
    m["b"] = nn.ReLU()
    m.update([("c", nn.Tanh())])
    assert list(m) == ["a", "b", "c"]
    assert "b" in m
    assert len(m) == 3
    assert isinstance(m.pop("b"), nn.ReLU)
    assert [k for k, _ in m.items()] == ["a", "c"]
    with pytest.raises(ValueError, match="element #0 has length 3; 2 is required"):
        m.update([(1, 2, 3)])
    with pytest.raises(
        TypeError, match="should be called with an iterable of key/value pairs, but got int"
    ):
        m.update(3)
    m.clear()
    assert not len(m)


def test_parameter_list():
    p = nn.ParameterList([nn.Parameter(fb.ones(2)), fb.zeros(3)])
    p.append(nn.Parameter(fb.ones(1)))
    assert len(p) == 3
    assert isinstance(p[1], nn.Parameter)
    assert [n for n, _ in p.named_parameters()] == ["0", "1", "2"]
    assert [x.shape for x in p[1:]] == [(3,), (1,)]
    assert "(0): Parameter containing: [flambeau.float32 of size 2]" in repr(p)
    with pytest.raises(
        TypeError, match="ParameterList.extend should be called with an iterable, but got int"
    ):
        p.extend(3)


def test_parameter_dict():
    p = nn.ParameterDict({"a": nn.Parameter(fb.ones(2))})
    p["b"] = fb.zeros(1)
    assert list(p.keys()) == ["a", "b"]
    assert isinstance(p["b"], nn.Parameter)
    assert p.get("x", 3) == 3
    assert p.popitem()[0] == "b"
    assert list((p | {"c": fb.ones(1)}).keys()) == ["a", "c"]
    assert "(a): Parameter containing: [flambeau.float32 of size 2]" in repr(p)
    with pytest.raises(KeyError, match="nope"):
        p["nope"]
    with pytest.raises(TypeError, match="cannot be used as a key as it is not a string"):
        p[1] = fb.ones(1)


def test_a_list_with_a_forward_of_its_own():
    class Chain(nn.ModuleList):
        def forward(self, x):
            for layer in self:
                x = layer(x)
            return x

    assert Chain([nn.Identity(), nn.ReLU()])(fb.ones(2)).tolist() == [1, 1]
