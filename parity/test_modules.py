"""Every layer of torch.nn: built by the same expression, given the same state and inputs, compared."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest

#: Expressions of the layers, each with one or more lists of inputs: a tuple is the shape of standard normal
#: numbers, a function makes something else of the class of draws (see conftest.py), a dict is named arguments.
#: Without inputs it is printed and loaded only: a base class, a container, or a layer that PyTorch refuses on the CPU.
Inputs = list[Any]
X2, X3, X4, X5 = (3, 4), (2, 4, 6), (2, 4, 6, 8), (2, 4, 5, 6, 4)

ACTIVATIONS = [
    "CELU()", "CELU(0.7)", "ELU()", "ELU(0.5)", "GELU()", "GELU('tanh')", "GLU()", "GLU(0)", "Hardshrink()",
    "Hardshrink(0.2)", "Hardsigmoid()", "Hardswish()", "Hardtanh()", "Hardtanh(-2.0, 0.5)", "LeakyReLU()",
    "LeakyReLU(0.3)", "LogSigmoid()", "LogSoftmax(1)", "LogSoftmax(-1)", "Mish()", "PReLU()", "PReLU(4, 0.1)", "ReLU()",
    "ReLU(inplace=False)", "ReLU6()", "SELU()", "SiLU()", "Sigmoid()", "Softmax(0)", "Softmax(-1)", "Softmin(1)",
    "Softplus()", "Softplus(2.0, 1.0)", "Softshrink()", "Softshrink(0.1)", "Softsign()", "Tanh()", "Tanhshrink()",
    "Threshold(0.1, 20.0)", "Identity()", "Identity(54, unused=1)", "RReLU(0.3, 0.3)",
]  # fmt: skip
LINEAR = {
    "Linear(4, 3)": [[X2], [(4,)], [(2, 5, 4)], [(0, 4)]],
    "Linear(4, 3, bias=False)": [[X2]],
    "Bilinear(4, 3, 5)": [[(2, 4), (2, 3)], [(2, 6, 4), (2, 6, 3)]],
    "Bilinear(4, 3, 5, bias=False)": [[(2, 4), (2, 3)]],
    "Flatten()": [[X4]],
    "Flatten(2, 3)": [[X4]],
    "Unflatten(1, (2, 2))": [[X3]],
    "Softmax2d()": [[X4], [(4, 6, 8)]],
    "CosineSimilarity()": [[X2, X2]],
    "CosineSimilarity(0, 1e-3)": [[X3, X3]],
    "PairwiseDistance()": [[X2, X2], [(4,), (4,)]],
    "PairwiseDistance(1.0, 1e-3, True)": [[X3, X3]],
    "Embedding(10, 3)": [[lambda d: d.ints(10, 2, 4)]],
    "Embedding(10, 3, padding_idx=0)": [[lambda d: d.given(0, 3, 0, 9)]],
    "Embedding(10, 3, padding_idx=-2, scale_grad_by_freq=True)": [[lambda d: d.given(8, 1, 1, 1)]],
    "Embedding(10, 3, max_norm=1.0)": [[lambda d: d.given(8, 1, 1, 1)]],
    "EmbeddingBag(10, 3, max_norm=0.8, norm_type=1.0, mode='sum')": [[lambda d: d.ints(10, 2, 4)]],
    "EmbeddingBag(10, 3)": [
        [lambda d: d.ints(10, 2, 4)],
        [lambda d: d.ints(10, 7), lambda d: d.given(0, 2, 2, 5)],
    ],
    "EmbeddingBag(10, 3, mode='sum', padding_idx=2)": [
        [lambda d: d.ints(10, 2, 4)],
        [lambda d: d.given(2, 1, 4, 2), lambda d: d.given(0, 2)],
    ],
    "EmbeddingBag(10, 3, mode='sum')": [
        [
            lambda d: d.ints(10, 7),
            lambda d: d.given(0, 2, 5),
            {"per_sample_weights": (7,)},
        ]
    ],
    "EmbeddingBag(10, 3, mode='max')": [[lambda d: d.ints(10, 2, 4)]],
    "EmbeddingBag(10, 3, include_last_offset=True)": [
        [lambda d: d.ints(10, 7), lambda d: d.given(0, 2, 5, 7)]
    ],
    "AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], div_value=2.0)": [
        [(6, 8), lambda d: d.given(0, 3, 11, 7, 2, 6)],
        [(8,), lambda d: d.ints(12)],
    ],
    "AdaptiveLogSoftmaxWithLoss(8, 12, [5], head_bias=True)": [[(6, 8), lambda d: d.ints(12, 6)]],
}
CONVOLUTIONS = {
    "Conv1d(4, 6, 3)": [[X3], [(4, 6)]],
    "Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2, bias=False)": [[(2, 4, 9)]],
    "Conv1d(4, 6, 4, padding='same', padding_mode='reflect')": [[(2, 4, 9)]],
    "Conv1d(4, 8, 3, groups=4, padding='valid')": [[X3]],
    "Conv2d(4, 6, 3)": [[X4], [(4, 6, 8)]],
    "Conv2d(4, 6, 1, stride=2)": [[X4]],
    "Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2))": [[X4]],
    "Conv2d(4, 4, 3, padding='same', groups=4)": [[X4]],
    "Conv2d(4, 6, (2, 3), padding='same', dilation=2)": [[X4]],
    "Conv2d(4, 6, 3, padding=1, padding_mode='circular')": [[X4]],
    "Conv2d(4, 6, 3, padding=(1, 2), padding_mode='replicate')": [[X4]],
    "Conv2d(4, 6, 3, padding=1, padding_mode='reflect', bias=False)": [[X4]],
    "Conv3d(4, 6, 2)": [[X5], [(4, 5, 6, 4)]],
    "Conv3d(4, 6, (3, 1, 2), stride=(2, 1, 1), padding=(1, 0, 1), groups=2)": [[X5]],
    "ConvTranspose1d(4, 6, 3)": [[X3], [(4, 6)]],
    "ConvTranspose1d(4, 6, 3, stride=3, padding=1, output_padding=2, groups=2)": [[X3]],
    "ConvTranspose2d(4, 6, 3)": [[X4], [(4, 6, 8)]],
    "ConvTranspose2d(4, 6, (3, 2), stride=2, padding=1, dilation=2, bias=False)": [[X4]],
    "ConvTranspose2d(4, 6, 3, stride=2, padding=1)": [[X4, {"output_size": [12, 15]}]],
    "ConvTranspose3d(4, 6, 2)": [[X5], [(4, 5, 6, 4)]],
    "ConvTranspose3d(4, 6, (3, 2, 1), stride=2, output_padding=(1, 0, 1), groups=2)": [[X5]],
    "Unfold(3)": [[X4], [(4, 6, 8)]],
    "Unfold((2, 3), dilation=2, padding=1, stride=(1, 2))": [[X4]],
    "Fold((6, 8), 3)": [[(2, 18, 24)], [(18, 24)]],
    "Fold((6, 8), (2, 3), dilation=2, padding=1, stride=(1, 2))": [[(2, 12, 18)]],
    "PixelShuffle(2)": [[X4]],
    "PixelUnshuffle(2)": [[X4]],
    "ChannelShuffle(2)": [[X4]],
    "Upsample(size=9)": [[X3], [X4]],
    "Upsample(scale_factor=2.5, mode='nearest-exact')": [[X4]],
    "Upsample(scale_factor=2, mode='linear')": [[X3]],
    "Upsample(size=(4, 13), mode='bilinear')": [[X4]],
    "Upsample(scale_factor=(2.0, 1.5), mode='bilinear', align_corners=True)": [[X4]],
    "Upsample(scale_factor=1.7, mode='bilinear', recompute_scale_factor=True)": [[X4]],
    "Upsample(scale_factor=2, mode='bicubic')": [[X4]],
    "Upsample(scale_factor=1.5, mode='bicubic', align_corners=True)": [[X4]],
    "Upsample(size=(3, 9, 5), mode='trilinear')": [[X5]],
    "Upsample(scale_factor=2)": [[X5]],
    "UpsamplingBilinear2d(scale_factor=2)": [[X4]],
    "UpsamplingNearest2d(size=(9, 5))": [[X4]],
}
POOLING = {
    "MaxPool1d(2)": [[X3], [(4, 6)]],
    "MaxPool1d(3, 2, 1, 2, ceil_mode=True)": [[(2, 4, 9)]],
    "MaxPool1d(2, return_indices=True)": [[X3]],
    "MaxPool2d(2)": [[X4], [(4, 6, 8)]],
    "MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0), return_indices=True)": [[X4]],
    "MaxPool2d(3, 2, 1, dilation=(1, 2), ceil_mode=True)": [[X4]],
    "MaxPool3d(2)": [[X5], [(4, 5, 6, 4)]],
    "MaxPool3d(3, 2, 1, return_indices=True, ceil_mode=True)": [[X5]],
    "AvgPool1d(2)": [[X3], [(4, 6)]],
    "AvgPool1d(3, 2, 1, ceil_mode=True, count_include_pad=False)": [[X3]],
    "AvgPool2d(2)": [[X4], [(4, 6, 8)]],
    "AvgPool2d((3, 2), (2, 1), (1, 0), ceil_mode=True)": [[X4]],
    "AvgPool2d(3, 2, 1, count_include_pad=False)": [[X4]],
    "AvgPool2d(3, divisor_override=5)": [[X4]],
    "AvgPool3d(2)": [[X5], [(4, 5, 6, 4)]],
    "AvgPool3d(3, 2, 1, ceil_mode=True, count_include_pad=False, divisor_override=7)": [[X5]],
    "LPPool1d(2, 3)": [[X3], [(4, 6)]],
    "LPPool1d(3, 2, stride=1, ceil_mode=True)": [[lambda d: d.uniform(0.1, 2.0, 2, 4, 6)]],
    "LPPool2d(2, (3, 2))": [[X4]],
    "LPPool2d(1.5, 3, stride=2)": [[lambda d: d.uniform(0.1, 2.0, 2, 4, 6, 8)]],
    "LPPool3d(2, 2)": [[X5]],
    "LPPool3d(2, 3, stride=2, ceil_mode=True)": [[X5]],
    "AdaptiveAvgPool1d(4)": [[X3], [(4, 6)]],
    "AdaptiveAvgPool2d(1)": [[X4]],
    "AdaptiveAvgPool2d((4, None))": [[X4], [(4, 6, 8)]],
    "AdaptiveAvgPool3d((2, 4, 3))": [[X5]],
    "AdaptiveMaxPool1d(4)": [[X3]],
    "AdaptiveMaxPool1d(2, return_indices=True)": [[X3], [(4, 6)]],
    "AdaptiveMaxPool2d((4, None))": [[X4]],
    "AdaptiveMaxPool2d(3, return_indices=True)": [[X4], [(4, 6, 8)]],
    "AdaptiveMaxPool3d(3)": [[X5]],
    "AdaptiveMaxPool3d((2, None, 3), return_indices=True)": [[X5]],
    "FractionalMaxPool2d(2, output_size=(3, 5), _random_samples=T.full((2, 4, 2), 0.6, dtype=dtype))": [[X4]],
    "FractionalMaxPool2d((2, 3), output_ratio=0.5, return_indices=True, "
    "_random_samples=T.tensor([[[0.1, 0.9]] * 4] * 2, dtype=dtype))": [[X4]],
    "FractionalMaxPool3d(2, output_size=2, _random_samples=T.full((2, 4, 3), 0.3, dtype=dtype))": [[X5]],
    "FractionalMaxPool3d((2, 3, 1), output_ratio=(0.5, 0.6, 0.7), return_indices=True, "
    "_random_samples=T.full((2, 4, 3), 0.8, dtype=dtype))": [[X5]],
    "MaxUnpool1d(2)": [[(2, 4, 3), lambda d: d.cells(2, 4, 3)]],
    "MaxUnpool1d(2, stride=2, padding=0)": [
        [(2, 4, 3), lambda d: d.cells(2, 4, 3), {"output_size": [7]}]
    ],
    "MaxUnpool2d(2)": [[(2, 4, 3, 2), lambda d: d.cells(2, 4, 3, 2)]],
    "MaxUnpool3d((2, 2, 2))": [[(2, 4, 3, 2, 3), lambda d: d.cells(2, 4, 3, 2, 3)]],
}  # fmt: skip
NORMS = {
    "BatchNorm1d(4)": [[X3], [X2]],
    "BatchNorm1d(4, eps=1e-3, momentum=0.3, affine=False)": [[X3]],
    "BatchNorm1d(4, momentum=None)": [[X3]],
    "BatchNorm1d(4, track_running_stats=False)": [[X3]],
    "BatchNorm2d(4)": [[X4]],
    "BatchNorm2d(4, affine=False, track_running_stats=False)": [[X4]],
    "BatchNorm3d(4)": [[X5]],
    "BatchNorm3d(4, bias=False)": [[X5]],
    "SyncBatchNorm(4)": [],
    "InstanceNorm1d(4)": [[X3], [(4, 6)]],
    "InstanceNorm1d(4, affine=True, track_running_stats=True)": [[X3]],
    "InstanceNorm2d(4, affine=True)": [[X4], [(4, 6, 8)]],
    "InstanceNorm2d(4, momentum=0.4, track_running_stats=True)": [[X4]],
    "InstanceNorm3d(4, eps=1e-2)": [[X5]],
    "InstanceNorm3d(4, affine=True, track_running_stats=True)": [[X5]],
    "LayerNorm(8)": [[X4]],
    "LayerNorm([6, 8], eps=1e-3)": [[X4]],
    "LayerNorm((6, 8), elementwise_affine=False)": [[X4]],
    "LayerNorm(8, bias=False)": [[X4]],
    "GroupNorm(2, 4)": [[X4], [X3]],
    "GroupNorm(2, 12)": [[(3, 12)]],
    "GroupNorm(1, 4, eps=1e-3, affine=False)": [[X4]],
    "RMSNorm(8)": [[X4]],
    "RMSNorm([6, 8], eps=1e-3)": [[X4]],
    "RMSNorm(8, elementwise_affine=False)": [[X4]],
    "LocalResponseNorm(3)": [[X4], [X3]],
    "LocalResponseNorm(2, alpha=0.5, beta=0.6, k=2.0)": [[X4]],
    "CrossMapLRN2d(3)": [[(2, 1, 6, 8)]],  # of more channels: test_cross_map
    "CrossMapLRN2d(5, alpha=0.5, beta=0.6, k=2.0)": [[(2, 1, 6, 8)]],
}
RECURRENT = {
    "RNN(4, 3)": [[(5, 2, 4)], [(5, 4)], [(5, 2, 4), (1, 2, 3)], [(5, 4), (1, 3)]],
    "RNN(4, 3, 2, nonlinearity='relu', bidirectional=True)": [[(5, 2, 4), (4, 2, 3)]],
    "RNN(4, 3, 2, bias=False, batch_first=True)": [[(2, 5, 4)]],
    "RNNBase('LSTM', 4, 3, 2)": [],
    "RNNCellBase(4, 3, True, num_chunks=4)": [],
    "LSTM(4, 3)": [[(5, 2, 4)], [(5, 4)], [(5, 2, 4), [(1, 2, 3), (1, 2, 3)]]],
    "LSTM(4, 3, 2, bidirectional=True, batch_first=True)": [[(2, 5, 4), [(4, 2, 3), (4, 2, 3)]]],
    "LSTM(4, 3, 2, proj_size=2)": [[(5, 2, 4)], [(5, 2, 4), [(2, 2, 2), (2, 2, 3)]]],
    "LSTM(4, 3, 2, bias=False, bidirectional=True, proj_size=2)": [[(5, 2, 4)]],
    "GRU(4, 3)": [[(5, 2, 4)], [(5, 4)], [(5, 2, 4), (1, 2, 3)]],
    "GRU(4, 3, 2, bidirectional=True, batch_first=True)": [[(2, 5, 4), (4, 2, 3)]],
    "GRU(4, 3, bias=False)": [[(5, 2, 4)]],
    "RNNCell(4, 3)": [[(2, 4)], [(2, 4), (2, 3)], [(4,), (3,)]],
    "RNNCell(4, 3, bias=False, nonlinearity='relu')": [[(2, 4), (2, 3)]],
    "LSTMCell(4, 3)": [[(2, 4)], [(2, 4), [(2, 3), (2, 3)]], [(4,), [(3,), (3,)]]],
    "LSTMCell(4, 3, bias=False)": [[(2, 4)]],
    "GRUCell(4, 3)": [[(2, 4)], [(2, 4), (2, 3)], [(4,), (3,)]],
    "GRUCell(4, 3, bias=False)": [[(2, 4), (2, 3)]],
}
CAUSAL = {"attn_mask": lambda d: d.flags(5, 5)}
ATTENTION = {
    "MultiheadAttention(8, 2)": [
        [(5, 2, 8), (7, 2, 8), (7, 2, 8)],
        [(5, 8), (7, 8), (7, 8)],
        [(5, 2, 8), (5, 2, 8), (5, 2, 8), CAUSAL],
        [
            (5, 2, 8), (7, 2, 8), (7, 2, 8),
            {"attn_mask": (4, 5, 7), "average_attn_weights": False},
        ],
        [
            (5, 2, 8), (7, 2, 8), (7, 2, 8),
            {"key_padding_mask": lambda d: d.flags(2, 7), "need_weights": False},
        ],
        [
            (5, 2, 8), (7, 2, 8), (7, 2, 8),
            {"key_padding_mask": lambda d: d.flags(2, 7), "attn_mask": lambda d: d.flags(5, 7)},
        ],
    ],
    "MultiheadAttention(8, 2, batch_first=True, bias=False)": [[(2, 5, 8), (2, 7, 8), (2, 7, 8)]],
    "MultiheadAttention(8, 4, add_bias_kv=True, add_zero_attn=True)": [
        [(5, 2, 8), (7, 2, 8), (7, 2, 8)],
        [(5, 2, 8), (7, 2, 8), (7, 2, 8), {"key_padding_mask": lambda d: d.flags(2, 7)}],
    ],
    "MultiheadAttention(8, 2, kdim=6, vdim=4)": [[(5, 2, 8), (7, 2, 6), (7, 2, 4)]],
    "TransformerEncoderLayer(8, 2, 12, 0.0)": [
        [(5, 2, 8)],
        [(5, 8)],
        [(5, 2, 8), {"src_mask": lambda d: d.flags(5, 5)}],
        [(5, 2, 8), {"src_key_padding_mask": lambda d: d.flags(2, 5)}],
    ],
    "TransformerEncoderLayer(8, 2, 12, 0.0, 'gelu', 1e-3, True, True, False)": [[(2, 5, 8)]],
    "TransformerEncoderLayer(8, 2, 12, 0.0, F.silu)": [[(5, 2, 8)]],
    "TransformerDecoderLayer(8, 2, 12, 0.0)": [
        [(5, 2, 8), (7, 2, 8)],
        [
            (5, 2, 8), (7, 2, 8),
            {"tgt_mask": lambda d: d.flags(5, 5), "memory_mask": lambda d: d.flags(5, 7)},
        ],
        [
            (5, 2, 8), (7, 2, 8),
            {
                "tgt_key_padding_mask": lambda d: d.flags(2, 5),
                "memory_key_padding_mask": lambda d: d.flags(2, 7),
            },
        ],
    ],
    "TransformerDecoderLayer(8, 2, 12, 0.0, 'gelu', batch_first=True, norm_first=True)": [
        [(2, 5, 8), (2, 7, 8)]
    ],
    "TransformerEncoder(TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True), 2, LayerNorm(8))": [
        [(2, 5, 8)],
        [(2, 5, 8), {"mask": lambda d: d.flags(5, 5), "is_causal": False}],
    ],
    "TransformerEncoder(TransformerEncoderLayer(8, 2, 12, 0.0), 2, enable_nested_tensor=False)": [
        [(5, 2, 8), {"src_key_padding_mask": lambda d: d.flags(2, 5)}]
    ],
    "TransformerDecoder(TransformerDecoderLayer(8, 2, 12, 0.0), 2, LayerNorm(8))": [
        [(5, 2, 8), (7, 2, 8)]
    ],
    "Transformer(8, 2, 2, 1, 12, 0.0, batch_first=True)": [
        [(2, 5, 8), (2, 4, 8)],
        [(2, 5, 8), (2, 4, 8), {"tgt_mask": lambda d: d.flags(4, 4)}],
    ],
    "Transformer(8, 2, 1, 1, 12, 0.0, F.gelu, norm_first=True, bias=False)": [[(5, 2, 8), (4, 2, 8)]],
}  # fmt: skip
CONTAINERS = {
    "Sequential(Linear(4, 3), ReLU(), Linear(3, 2))": [[X2]],
    "Sequential(*[Sequential(Conv2d(4, 4, 3), BatchNorm2d(4)) for _ in range(3)])": [],
    "ModuleList([Linear(4, 3), Linear(3, 2), Linear(3, 2)])": [],
    "ModuleList()": [],
    "ModuleDict({'a': Linear(4, 3), 'b': ModuleList([ReLU()])})": [],
    "ParameterList([Parameter(T.ones(3)), Parameter(T.ones(2, 2)), 'text', T.zeros(1), 4.0])": [],
    "ParameterDict({'a': Parameter(T.ones(3)), 'b': T.zeros(2), 'c': 'text'})": [],
    "Module()": [],
}
LAZY = {
    "LazyLinear(3)": [[X2]],
    "LazyConv1d(6, 3, padding=1)": [[X3]],
    "LazyConv2d(6, 3, groups=2)": [[X4]],
    "LazyConv3d(6, 2, bias=False)": [[X5]],
    "LazyConvTranspose1d(6, 3)": [[X3]],
    "LazyConvTranspose2d(6, 3, stride=2)": [[X4]],
    "LazyConvTranspose3d(6, 2)": [[X5]],
    "LazyBatchNorm1d()": [[X3]],
    "LazyBatchNorm2d(momentum=0.3)": [[X4]],
    "LazyBatchNorm3d()": [[X5]],
    "LazyInstanceNorm1d(affine=True)": [[X3]],
    "LazyInstanceNorm2d(affine=True, track_running_stats=True)": [[X4]],
    "LazyInstanceNorm3d(affine=True)": [[X5]],
}
#: These draw numbers while training: compared in evaluation, and by test_share_kept and its like.
RANDOM = {
    "Dropout()": [[X4]],
    "Dropout(0.2)": [[X4]],
    "Dropout1d(0.3)": [[X3]],
    "Dropout2d(0.3)": [[X4]],
    "Dropout3d(0.3)": [[X5]],
    "AlphaDropout(0.3)": [[X4]],
    "FeatureAlphaDropout(0.3)": [[X4]],
    "RReLU()": [[X4]],
    "RReLU(0.2, 0.6)": [[X4]],
    "LSTM(4, 3, 2, dropout=0.5)": [[(5, 2, 4)]],
    "GRU(4, 3, 2, dropout=0.5)": [[(5, 2, 4)]],
    "RNN(4, 3, 2, dropout=0.5)": [[(5, 2, 4)]],
    "MultiheadAttention(8, 2, 0.1)": [[(5, 2, 8), (7, 2, 8), (7, 2, 8)]],
    "TransformerEncoderLayer(8, 2)": [[(5, 2, 8)]],
    "Transformer(8, 2, 1, 1)": [[(5, 2, 8), (4, 2, 8)]],
}
PADDED = {
    1: ([X3, (4, 6)], ["2", "(1, 3)"]),
    2: ([X4, (4, 6, 8)], ["2", "(1, 3, 0, 2)"]),
    3: ([X5, (4, 5, 6, 4)], ["2", "(1, 3, 0, 2, 1, 1)"]),
}
PADDING = {
    f"{kind}Pad{n}d({pad}{value})": [[shape] for shape in shapes]
    for n, (shapes, pads) in PADDED.items()
    for kind, value in {
        "Zero": "", "Constant": ", 3.5", "Reflection": "", "Replication": "", "Circular": "",
    }.items()
    for pad in pads
}  # fmt: skip
CASES: dict[str, list[Inputs]] = {
    **{text: [[X4]] for text in ACTIVATIONS},
    **LINEAR,
    **CONVOLUTIONS,
    **POOLING,
    **PADDING,
    **NORMS,
    **RECURRENT,
    **ATTENTION,
    **CONTAINERS,
}

RTOL = {"float64": 1e-7, "float32": 1e-5}

#: What torch.nn has and flambeau.nn has not, with the reason.
MISSING = {
    "Container": "deprecated since 0.4 in favour of Module, and warns where it is made",
    "LinearCrossEntropyOptions": "PyTorch's chunks of that loss; here the logits are computed whole",
    "DataParallel": "spreads a batch over several GPUs of one process; PyTorch itself advises against it",
}
#: Of torch.nn, but no layers: compared where layers hold them.
NO_LAYERS = {"Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter"}
#: What PyTorch says about its own fast paths when it does not take them.
pytestmark = [
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype:UserWarning"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning"),
]

#: Parameters that only ours take, always by name alone.
OUR_ARGUMENTS = {"broadcast"}
#: PyTorch takes these through *args and **kwargs, so that its signatures say nothing.
OPAQUE = {"GRU", "LSTM", "RNN", "NLLLoss2d"}


def check(
    oracle: Any, text: str, inputs: list[Inputs], dtype: str, training: bool, lazy: bool = False
) -> None:
    """Build, print, load, run and differentiate in both."""
    rtol = RTOL[dtype]
    theirs, ours = (oracle.build(T, text, dtype) for T in oracle.both)
    oracle.same_text(theirs, ours)
    if lazy:
        arrays = oracle.arrays(inputs[0], dtype)
        assert list(theirs.state_dict()) == list(ours.state_dict())
        for T, module in zip(oracle.both, (theirs, ours), strict=True):
            module(*oracle.tensors(T, arrays))
        assert type(ours).__name__ == type(theirs).__name__
        oracle.same_text(theirs, ours)
    oracle.load(theirs, ours)
    theirs.train(training)
    ours.train(training)
    for i, each in enumerate(inputs):
        arrays = oracle.arrays(each, dtype, seed=i)
        theirs.zero_grad()
        ours.zero_grad()
        expected, grads = oracle.run(oracle.theirs, theirs, arrays)
        result, our_grads = oracle.run(oracle.ours, ours, arrays)
        oracle.compare(expected, result, rtol, f"outputs of inputs {i}")
        oracle.compare(grads, our_grads, rtol, f"gradients of inputs {i}")
        for (name, p), (mine, q) in zip(
            theirs.named_parameters(), ours.named_parameters(), strict=True
        ):
            assert name == mine
            oracle.compare([p.grad], [q.grad], rtol, f"gradient of {name}")
    oracle.compare(theirs.state_dict().values(), ours.state_dict().values(), rtol, "state")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("text", CASES)
def test_layer(oracle: Any, text: str, training: bool, dtype: str) -> None:
    check(oracle, text, CASES[text], dtype, training)


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("text", LAZY)
def test_lazy(oracle: Any, text: str, dtype: str) -> None:
    check(oracle, text, LAZY[text], dtype, training=True, lazy=True)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("text", RANDOM)
def test_random_in_evaluation(oracle: Any, text: str, dtype: str) -> None:
    check(oracle, text, RANDOM[text], dtype, training=False)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("Dropout(0.3)", (100, 100)),
        ("Dropout1d(0.3)", (100, 100, 4)),
        ("Dropout2d(0.3)", (100, 100, 2, 2)),
        ("Dropout3d(0.3)", (100, 100, 1, 2, 2)),
        ("AlphaDropout(0.3)", (100, 100)),
        ("FeatureAlphaDropout(0.3)", (100, 100, 4)),
        ("RReLU(0.2, 0.6)", (100, 100)),
    ],
)
def test_random_in_training(oracle: Any, text: str, shape: tuple[int, ...]) -> None:
    """The same few values, or the same range, in the same shares, and whole channels where theirs are."""
    array = np.full(shape, -1.5)
    found = []
    for T in oracle.both:
        x = T.tensor(array).requires_grad_()
        y = oracle.build(T, text)(x)
        y.sum().backward()
        found.append((oracle.numbers(y), oracle.numbers(x.grad)))
    (a, da), (b, db) = found
    draws = 1e4  # independent ones, by the shapes above
    for theirs, ours in ((a, b), (da, db)):
        spread = max(float(theirs.std()), 1e-12)
        assert abs(theirs.mean() - ours.mean()) < 8 * spread / draws**0.5
        assert abs(theirs.std() - ours.std()) < 8 * spread / draws**0.5
        np.testing.assert_allclose(ours.min(), theirs.min(), rtol=1e-3)
        np.testing.assert_allclose(ours.max(), theirs.max(), rtol=1e-3)
        assert len(np.unique(ours)) == len(np.unique(theirs)) or text.startswith("RReLU")
    flat_a, flat_b = a.reshape(100, 100, -1), b.reshape(100, 100, -1)
    whole = np.ptp(flat_a, axis=2).max() == 0
    assert whole == (np.ptp(flat_b, axis=2).max() == 0)


def test_fractional_max_pool_draws(oracle: Any) -> None:
    """Without given samples: each output is one of the inputs, and places spread as theirs do."""
    x = np.arange(64 * 24.0).reshape(64, 1, 24, 1).repeat(4, 3)
    mean = []
    for T in oracle.both:
        T.manual_seed(0)
        y = oracle.numbers(T.nn.FractionalMaxPool2d((2, 1), output_size=(9, 4))(T.tensor(x)))
        assert y.shape == (64, 1, 9, 4)
        mean.append((y[:, 0, :, 0] % 24).mean(0))
    np.testing.assert_allclose(mean[1], mean[0], atol=1.0)


def test_cross_map(oracle: Any) -> None:
    """Of several channels, as their LocalResponseNorm.

    Their CrossMapLRN2d never takes the first channel out of its windows again, and its gradient sums the window
    before a channel in place of the one around it: it fails their own gradcheck.
    """
    arrays = oracle.arrays([(2, 5, 3, 4)], "float64")
    text = "(3, alpha=0.5, beta=0.6, k=2.0)"
    theirs = oracle.build(oracle.theirs, f"CrossMapLRN2d{text}")
    x = oracle.tensors(oracle.theirs, arrays)
    assert not oracle.theirs.autograd.gradcheck(theirs, x, raise_exception=False)
    expected = oracle.run(
        oracle.theirs, oracle.build(oracle.theirs, f"LocalResponseNorm{text}"), arrays
    )
    found = oracle.run(oracle.ours, oracle.build(oracle.ours, f"CrossMapLRN2d{text}"), arrays)
    oracle.compare(expected[0], found[0], RTOL["float64"], "output")
    oracle.compare(expected[1], found[1], RTOL["float64"], "gradient")


#: Layers with numbers to start from, large enough to see how these are spread.
STARTS = [
    "Linear(60, 50)", "Bilinear(20, 10, 30)", "Conv1d(20, 30, 5)", "Conv2d(8, 30, 3, groups=2)",
    "Conv3d(4, 30, 3)", "ConvTranspose1d(20, 30, 5)", "ConvTranspose2d(8, 30, 3, groups=2)",
    "ConvTranspose3d(4, 30, 3)", "Embedding(60, 50, padding_idx=3)", "EmbeddingBag(60, 50)", "RNN(30, 40, 2)",
    "LSTM(30, 40, proj_size=20)", "GRU(30, 40, bidirectional=True)", "RNNCell(30, 40)", "LSTMCell(30, 40)",
    "GRUCell(30, 40)", "MultiheadAttention(40, 2)", "MultiheadAttention(40, 2, kdim=30, vdim=20, add_bias_kv=True)",
    "TransformerEncoderLayer(40, 2, 50)", "TransformerDecoderLayer(40, 2, 50)", "Transformer(40, 2, 1, 1, 50)",
    "AdaptiveLogSoftmaxWithLoss(40, 60, [20, 40])", "PReLU(5)", "BatchNorm2d(50)", "LayerNorm(50)",
    "GroupNorm(5, 50)", "RMSNorm(50)", "InstanceNorm1d(50, affine=True, track_running_stats=True)",
    "LinearCrossEntropyLoss(40, 60, bias=True)",
]  # fmt: skip


@pytest.mark.parametrize("text", STARTS)
def test_starts(oracle: Any, text: str) -> None:
    """Parameters and buffers start from the same constants or the same distribution."""
    drawn: list[dict[str, list[Any]]] = []
    for T in oracle.both:
        pools: dict[str, list[Any]] = {}
        T.manual_seed(1)
        modules = [eval(text, {**vars(T.nn), "T": T}) for _ in range(8)]
        for module in modules:
            for name, each in module.state_dict().items():
                pools.setdefault(name, []).append(oracle.numbers(each).ravel())
        drawn.append({name: np.concatenate(each).astype("float64") for name, each in pools.items()})
    theirs, ours = drawn
    for name, a in theirs.items():
        b = ours[name]
        if np.ptp(a) == 0:
            np.testing.assert_array_equal(b, a, err_msg=name)
            continue
        error = 6 * a.std() * (2 / a.size) ** 0.5
        assert abs(a.mean() - b.mean()) < error, name
        assert abs(a.std() - b.std()) < error, name
        edges = np.quantile(a, [0.01, 0.1, 0.3, 0.7, 0.9, 0.99])
        shares = [np.searchsorted(np.sort(x), edges) / x.size for x in (a, b)]
        assert np.abs(shares[0] - shares[1]).max() < 3 * (2 / a.size) ** 0.5, name


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_packed(oracle: Any, kind: str) -> None:
    """Sequences of several lengths through utils.rnn and back, sorted or not."""
    for given in ([5, 3, 2], [2, 5, 3]):
        text = f"{kind}(4, 3, 2, bidirectional=True)"
        theirs, ours = (oracle.build(T, text) for T in oracle.both)
        oracle.load(theirs, ours)
        array = np.random.default_rng(0).standard_normal((5, 3, 4))
        found = []
        for T, module in zip(oracle.both, (theirs, ours), strict=True):
            rnn = T.nn.utils.rnn
            x = T.tensor(array).requires_grad_()
            packed = rnn.pack_padded_sequence(x, given, enforce_sorted=given[0] == 5)
            out, state = module(packed)
            padded, lengths = rnn.pad_packed_sequence(out, padding_value=7.0)
            ((padded**2).sum() + sum((each * 3).sum() for each in oracle.leaves(state))).backward()
            found.append(
                [padded, lengths, packed.batch_sizes, out.data, *oracle.leaves(state), x.grad]
                + [p.grad for p in module.parameters()]
            )
        oracle.compare(*found, RTOL["float64"], f"lengths {given}")


def test_every_layer_is_here_and_compared(oracle: Any) -> None:
    """No class of torch.nn is forgotten: it exists here and has a case above, or its absence has a reason."""
    nn, ours = oracle.theirs.nn, oracle.ours.nn
    losses = nn.modules.loss._Loss
    names = {
        name
        for name, each in vars(nn).items()
        if isinstance(each, type) and not issubclass(each, losses)
    }
    layers = {name for name in names if issubclass(getattr(nn, name), nn.Module)}
    assert {name for name in names if not hasattr(ours, name)} == set(MISSING)
    every = " ".join([*CASES, *LAZY, *RANDOM])
    compared = set(re.findall(r"\b[A-Z]\w+", every))
    assert layers - set(MISSING) <= compared
    assert names - layers - set(MISSING) == NO_LAYERS


def test_arguments(oracle: Any) -> None:
    """Constructors and forwards take the same names, in the same order, with the same defaults."""
    nn, ours = oracle.theirs.nn, oracle.ours.nn
    for name, each in vars(nn).items():
        if not (isinstance(each, type) and issubclass(each, nn.Module)) or not hasattr(ours, name):
            continue
        mine = getattr(ours, name)
        if name not in OPAQUE:
            assert arguments(each) == arguments(mine), name
        if "forward" in vars(each) and name not in {"Module"}:
            assert arguments(each.forward) == arguments(mine.forward), f"{name}.forward"


def arguments(function: Any) -> list[tuple[str, str, str]]:
    """Name, kind and default of each argument; of a default that is a function, its name."""
    found = []
    for p in inspect.signature(function).parameters.values():
        default = getattr(p.default, "__name__", None) or repr(p.default)
        if p.name not in OUR_ARGUMENTS:
            found.append((p.name, p.kind.name, default))
    return found
