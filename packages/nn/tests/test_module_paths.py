"""The modules from which programs written for PyTorch import."""

import importlib
import pathlib

import pytest

import flambeau as fb
from flambeau import nn
from flambeau.nn.modules import utils

PATHS = """
nn.common_types._size_2_t nn.functional.relu nn.init.xavier_uniform_ nn.modules.activation.MultiheadAttention
nn.modules.activation.ReLU nn.modules.batchnorm.BatchNorm2d nn.modules.batchnorm._BatchNorm
nn.modules.batchnorm._NormBase nn.modules.container.Sequential nn.modules.conv.Conv2d nn.modules.conv._ConvNd
nn.modules.conv._ConvTransposeNd nn.modules.dropout.Dropout nn.modules.dropout._DropoutNd nn.modules.flatten.Flatten
nn.modules.instancenorm.InstanceNorm2d nn.modules.instancenorm._InstanceNorm nn.modules.linear.Identity
nn.modules.linear.Linear nn.modules.loss.CrossEntropyLoss nn.modules.loss._Loss nn.modules.loss._WeightedLoss
nn.modules.module.Module nn.modules.normalization.LayerNorm nn.modules.padding.ZeroPad2d
nn.modules.padding._ConstantPadNd nn.modules.pooling.MaxPool2d nn.modules.pooling._MaxPoolNd nn.modules.rnn.LSTM
nn.modules.rnn.LSTMCell nn.modules.rnn.RNNBase nn.modules.sparse.Embedding
nn.modules.transformer.TransformerEncoderLayer nn.modules.transformer._get_activation_fn
nn.modules.transformer._get_clones nn.modules.upsampling.Upsample nn.modules.utils._pair nn.parameter.Parameter
nn.utils.clip_grad.clip_grad_norm_ nn.utils.rnn.pad_sequence nn.utils.parametrize.register_parametrization
""".split()


@pytest.mark.parametrize("path", PATHS)
def test_both_ways_to_import(path):
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(f"flambeau.{module}"), name)
    reached = fb
    for part in path.split("."):
        reached = getattr(reached, part)
    assert reached is found
    if not name.startswith("_") and hasattr(nn, name):
        assert found is getattr(nn, name)


def test_every_module_names_what_it_brings():
    folder = pathlib.Path(nn.modules.__file__).parent
    for file in folder.glob("[a-z]*.py"):
        module = importlib.import_module(f"flambeau.nn.modules.{file.stem}")
        assert module.__all__ and all(hasattr(module, name) for name in module.__all__)
    with pytest.raises(
        AttributeError, match="module 'flambeau.nn.modules' has no attribute 'nosuch'"
    ):
        nn.modules.nosuch


@pytest.mark.parametrize(
    "path",
    (
        "optim.optimizer.Optimizer optim.lr_scheduler.LRScheduler optim.lr_scheduler._LRScheduler "
        "optim.adamw.AdamW optim.swa_utils.AveragedModel"
    ).split(),
)
def test_of_optimizers(path):
    module, _, name = path.rpartition(".")
    pytest.importorskip("flambeau.optim", reason="the package flambeau-optim is not installed")
    assert isinstance(getattr(importlib.import_module(f"flambeau.{module}"), name), type)


@pytest.mark.parametrize(
    "path",
    (
        "utils.data.dataset.Dataset utils.data.dataloader.DataLoader utils.data.dataloader.default_collate "
        "utils.data.sampler.Sampler utils.data.distributed.DistributedSampler"
    ).split(),
)
def test_of_data(path):
    module, _, name = path.rpartition(".")
    pytest.importorskip("flambeau.utils.data", reason="the package flambeau-data is not installed")
    assert callable(getattr(importlib.import_module(f"flambeau.{module}"), name))


class TestUtils:
    def test_tuples(self):
        assert (
            utils._single(3) == (3,) and utils._pair(3) == (3, 3) and utils._triple("a") == ("a",)
        )
        assert utils._quadruple([1, 2]) == (1, 2) and utils._pair.__name__ == "_pair"
        assert utils._ntuple(2)(None) == (None, None)
        assert utils._reverse_repeat_tuple((1, 2), 2) == (2, 2, 1, 1)

    def test_defaults(self):
        assert utils._list_with_default(3, [1]) == 3
        assert utils._list_with_default([None, 5], [7, 8, 9]) == [8, 5]
        with pytest.raises(ValueError, match="Input dimension should be at least 3"):
            utils._list_with_default([None, 5], [7, 8])

    def test_prefixes(self):
        model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        wrapped = nn.ModuleDict({"module": model}).state_dict()
        utils.consume_prefix_in_state_dict_if_present(wrapped, "module.")
        assert list(wrapped) == list(model.state_dict())
        assert set(wrapped._metadata) == {"", "0", "1"}
        model.load_state_dict(wrapped)
