"""Module: registration, traversal, modes, printing, calling."""

import copy
import gc
import pickle
import weakref

import pytest

import flambeau as fb
from flambeau import nn
from flambeau._live import name_of


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 3)
        self.block = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
        self.register_buffer("steps", fb.zeros(1))
        self.register_buffer("scratch", fb.zeros(2), persistent=False)
        self.scale = nn.Parameter(fb.ones(2))

    def forward(self, x):
        return self.block(self.fc1(x)) * self.scale


def test_names_come_in_order_of_definition():
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "scale",
        "fc1.weight",
        "fc1.bias",
        "block.0.weight",
        "block.0.bias",
    ]
    assert [n for n, _ in net.named_buffers()] == ["steps", "scratch"]
    assert [n for n, _ in net.named_modules()] == ["", "fc1", "block", "block.0", "block.1"]
    assert [n for n, _ in net.named_children()] == ["fc1", "block"]
    assert [n for n, _ in net.named_parameters(recurse=False)] == ["scale"]
    assert [n for n, _ in net.named_parameters(prefix="net")][1] == "net.fc1.weight"


def test_shared_parameters_are_listed_once():
    net = Net()
    net.again = net.fc1
    assert len(list(net.parameters())) == 5
    assert len(list(net.named_parameters(remove_duplicate=False))) == 7
    assert len(list(net.modules())) == 5


def test_printing():
    assert repr(Net()) == (
        "Net(\n  (fc1): Linear(in_features=4, out_features=3, bias=True)\n  (block): Sequential(\n"
        "    (0): Linear(in_features=3, out_features=2, bias=True)\n    (1): ReLU()\n  )\n)"
    )
    assert repr(nn.Module()) == "Module()"
    assert (
        repr(nn.Parameter(fb.ones(2)))
        == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    )


def test_assignment_registers_and_replaces():
    m = nn.Module()
    m.a = nn.Parameter(fb.ones(1))
    m.a = None
    assert dict(m.named_parameters()) == {}
    assert m.a is None
    with pytest.raises(
        TypeError,
        match=r"cannot assign 'flambeau.tensor.Tensor' as parameter 'a' \(nn.Parameter or None expected\)",
    ):
        m.a = fb.ones(1)
    m.child = nn.ReLU()
    with pytest.raises(TypeError, match=r"cannot assign 'int' as child module 'child'"):
        m.child = 3
    m.register_buffer("b", fb.zeros(1))
    m.b = fb.ones(1)
    assert m._buffers["b"].item() == 1
    with pytest.raises(TypeError, match="cannot assign 'str' as buffer 'b'"):
        m.b = "x"
    m.b = nn.Parameter(fb.ones(3))
    assert "b" in m._parameters
    assert "b" not in m._buffers
    del m.b
    assert not hasattr(m, "b")


def test_attributes_before_init_are_refused():
    class Forgetful(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(2, 2)

    with pytest.raises(
        AttributeError,
        match=r"cannot assign module before Module.__init__\(\) call. Hint: call super",
    ):
        Forgetful()

    class Early(nn.Module):
        def __init__(self):
            self.w = nn.Parameter(fb.ones(1))

    with pytest.raises(
        AttributeError, match=r"cannot assign parameters before Module.__init__\(\) call"
    ):
        Early()


def test_missing_attribute():
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'nope'"):
        Net().nope


def test_bad_names():
    m = nn.Module()
    with pytest.raises(KeyError, match=r'parameter name can\'t contain "."'):
        m.register_parameter("a.b", None)
    with pytest.raises(KeyError, match="parameter name can't be empty string"):
        m.register_parameter("", None)
    with pytest.raises(KeyError, match="attribute 'forward' already exists"):
        m.register_buffer("forward", fb.ones(1))
    with pytest.raises(TypeError, match="int is not a Module subclass"):
        m.add_module("x", 3)
    with pytest.raises(TypeError, match="module name should be a string. Got int"):
        m.add_module(3, nn.ReLU())
    p = nn.Parameter(fb.ones(1))
    p._g = (p * 2)._g
    with pytest.raises(ValueError, match="Cannot assign non-leaf Tensor to parameter 'p'"):
        m.register_parameter("p", p)


def test_dotted_access():
    net = Net()
    assert net.get_submodule("block.0") is net.block[0]
    assert net.get_submodule("") is net
    assert net.get_parameter("fc1.weight") is net.fc1.weight
    assert net.get_buffer("steps") is net.steps
    with pytest.raises(AttributeError, match="Sequential has no attribute `7`"):
        net.get_submodule("block.7")
    with pytest.raises(AttributeError, match="`weight` is not an nn.Module"):
        net.get_submodule("fc1.weight")
    with pytest.raises(AttributeError, match="`fc1` is not an nn.Parameter"):
        net.get_parameter("fc1")
    with pytest.raises(AttributeError, match="`scale` is not a buffer"):
        net.get_buffer("scale")
    net.set_submodule("block.1", nn.Tanh())
    assert isinstance(net.block[1], nn.Tanh)
    with pytest.raises(ValueError, match="Cannot set the submodule without a target name"):
        net.set_submodule("", nn.Tanh())


def test_train_and_eval_reach_all():
    net = Net()
    assert net.eval() is net
    assert not any(m.training for m in net.modules())
    assert all(m.training for m in net.train().modules())
    with pytest.raises(ValueError, match="training mode is expected to be boolean"):
        net.train("yes")


def test_zero_grad_and_requires_grad():
    net = Net()
    net(fb.ones(2, 4)).sum().backward()
    assert net.scale.grad is not None
    net.zero_grad(set_to_none=False)
    assert net.scale.grad.tolist() == [0, 0]
    net.zero_grad()
    assert net.scale.grad is None
    net.requires_grad_(False)
    assert not net(fb.ones(2, 4)).requires_grad


def test_apply_visits_children_first():
    seen = []
    net = Net()
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "Linear", "ReLU", "Sequential", "Net"]


def test_conversion():
    net = Net().double()
    assert net.scale.dtype is fb.float64
    assert net.steps.dtype is fb.float64
    param = net.fc1.weight
    net.to(fb.float32)
    assert net.fc1.weight is param
    assert param.dtype is fb.float32
    assert net.to("cpu", fb.float64).scale.dtype is fb.float64
    assert net.to(fb.ones(1)).scale.dtype is fb.float32
    assert net.half().scale.dtype is fb.float16
    with pytest.raises(
        TypeError, match="nn.Module.to only accepts floating point or complex dtypes"
    ):
        net.to(fb.int64)


def test_conversion_takes_gradients_along():
    net = Net()
    net(fb.ones(2, 4)).sum().backward()
    net.double()
    assert net.scale.grad.dtype is fb.float64
    net(fb.ones(2, 4, dtype=fb.float64)).sum().backward()


def test_meta_and_to_empty():
    net = Net().to("meta")
    assert net.fc1.weight.is_meta
    assert net.to_empty(device="cpu").fc1.weight.device.type == "cpu"


def test_deepcopy_and_pickle():
    net = Net()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert [n for n, _ in twin.named_parameters()] == [n for n, _ in net.named_parameters()]
        assert twin.fc1.weight.tolist() == net.fc1.weight.tolist()
        assert isinstance(twin.fc1.weight, nn.Parameter)
        assert twin.fc1.weight is not net.fc1.weight
        assert twin(fb.ones(1, 4)).shape == (1, 2)


def test_a_module_is_freed_at_once():
    gc.disable()
    try:
        net = Net()
        net(fb.ones(2, 4)).sum().backward()
        back = weakref.ref(net)
        del net
        assert back() is None
    finally:
        gc.enable()


def test_forward_is_required():
    with pytest.raises(
        NotImplementedError, match=r'Module \[Module\] is missing the required "forward" function'
    ):
        nn.Module()(1)


def test_init_takes_no_arguments():
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'x'"):
        nn.Module(x=1)


def test_errors_name_the_module():
    with pytest.raises(
        RuntimeError, match=r"expected 4, got 5(.|\n)*in module fc1: Linear\(4->3\)"
    ):
        Net()(fb.ones(2, 5))
    with pytest.raises(ValueError, match=r"in module Linear\(4->3\)"):
        nn.Linear(4, 3)(fb.ones(2, 5))

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.ModuleList([Net(), Net()])

        def forward(self, x):
            return self.inner[1](x)

    with pytest.raises(RuntimeError, match=r"in module inner\.1\.fc1: Linear\(4->3\)$"):
        Outer()(fb.ones(2, 5))


def test_other_exceptions_pass_through():
    class Broken(nn.Module):
        def forward(self, x):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="^'mine'$"):
        nn.Sequential(Broken())(1)


def test_parameter_shares_memory_and_checks():
    data = fb.ones(2)
    p = nn.Parameter(data)
    data[0] = 5
    assert p.tolist() == [5, 1]
    assert nn.Parameter(fb.ones(1), requires_grad=False).requires_grad is False
    assert nn.Parameter().shape == (0,)
    with pytest.raises(TypeError, match="Parameter: data must be a Tensor, got list"):
        nn.Parameter([1.0])


def test_buffer():
    m = nn.Module()
    m.kept = nn.Buffer(fb.ones(1))
    m.dropped = nn.Buffer(fb.ones(1), persistent=False)
    assert list(m.state_dict()) == ["kept"]
    assert [n for n, _ in m.named_buffers()] == ["kept", "dropped"]


def test_uninitialized_parameter():
    p = nn.UninitializedParameter()
    with pytest.raises(ValueError, match="Can't access the shape of an uninitialized parameter"):
        p.shape
    assert repr(p) == "<UninitializedParameter>"
    p.materialize((2, 3))
    assert type(p) is nn.Parameter
    assert p.shape == (2, 3)
    assert p.requires_grad


def test_errors_call_parameters_by_name():
    m = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    with pytest.raises(
        RuntimeError,
        match=r"add_: a leaf Variable .* \(Linear\(3->2\)\.bias, \(2,\) float32 cpu\)\. Hint: wrap",
    ):
        m[0].bias.add_(1)
    assert name_of(m[1].running_mean) == "BatchNorm1d(2).running_mean"
