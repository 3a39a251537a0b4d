"""The layers of PyTorch, in the Python of `loop.py`: nothing else of this project is imported."""

import copy
import os

import torch

torch.set_num_threads(len(os.sched_getaffinity(0)))  # as TensorFlow does


class ChannelsLast(torch.nn.Module):
    """A module that takes channels before space, on arrays with channels last: no copy is made."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x.movedim(-1, 1)).movedim(1, -1)


def build(layer, size, shape):
    """The PyTorch module of that name, or None if there is none to compare with."""
    nn, channels = torch.nn, shape[-1]
    target = int(size.rpartition(" -> ")[2]) if " -> " in size else None
    if layer in ("LSTM", "GRU", "SimpleRNN"):
        hidden = int(size.rpartition("x")[2])
        return getattr(nn, layer.removeprefix("Simple"))(channels, hidden, batch_first=True)
    return {
        "BatchNormalization": lambda: (
            ChannelsLast(nn.BatchNorm2d(channels)) if len(shape) == 4 else nn.BatchNorm1d(channels)
        ),
        "LayerNormalization": lambda: nn.LayerNorm(channels),
        "Dropout": lambda: nn.Dropout(0.5),
        "MaxPooling2D": lambda: ChannelsLast(nn.MaxPool2d(2)),
        "AveragePooling2D": lambda: ChannelsLast(nn.AvgPool2d(2)),
        "ReLU": nn.ReLU,
        "Flatten": nn.Flatten,
        "Conv1D": lambda: ChannelsLast(nn.Conv1d(channels, target, 5, padding="same")),
        "Conv2D": lambda: ChannelsLast(nn.Conv2d(channels, target, 3, padding="same")),
        "Conv3D": lambda: ChannelsLast(nn.Conv3d(channels, target, 3, padding="same")),
        "Conv2DTranspose": lambda: ChannelsLast(
            nn.ConvTranspose2d(channels, target, 3, 2, padding=1, output_padding=1)
        ),
        "Dense": lambda: nn.Linear(channels, target),
        "Embedding": lambda: nn.Embedding(50_000, 300, sparse=True),
    }.get(layer, lambda: None)()


def forward_and_step(module, x, *others):
    """{pass: function}: the output, and the gradients of a float `x` and of the parameters."""
    x.requires_grad_(x.is_floating_point())
    points = [p for p in (x, *module.parameters()) if p.requires_grad]
    evaluated = copy.deepcopy(module).eval()

    def output(module):
        y = module(x, *others)
        return y[0] if isinstance(y, tuple) else y

    def forward():
        with torch.no_grad():
            output(evaluated)

    def step():
        y = output(module)
        torch.autograd.grad(y, points, torch.ones_like(y))

    return {"forward": forward, "step": step}


def prepare(name, size, arrays):
    x = torch.from_numpy(arrays["x"])
    module = build(name, size, x.shape)
    return {} if module is None else forward_and_step(module, x)


def versions():
    return {"torch": torch.__version__}
