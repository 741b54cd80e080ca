"""Tools for tests: comparing tensors, making inputs, checking derivatives."""

from flambeau.autograd.gradcheck import gradcheck, gradgradcheck
from flambeau.testing._compare import TOLERANCES, assert_close
from flambeau.testing._make import make_tensor

__all__ = ["TOLERANCES", "assert_close", "gradcheck", "gradgradcheck", "make_tensor"]
