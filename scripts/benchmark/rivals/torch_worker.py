"""The PyTorch side of the benchmark: times one call whenever a line on standard input asks.

Run by scripts/benchmark.py with a Python that has torch; it imports nothing else of this project.
"""

import json
import sys
import time

import torch


class Pooled(torch.nn.Module):
    """PyTorch takes channels before space: the same memory, seen so."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x.movedim(-1, 1)).movedim(1, -1)


def build(layer, size, shape):
    """The PyTorch module of that name, or None where there is none to compare with."""
    nn, channels = torch.nn, shape[-1]
    target = int(size.rpartition(" -> ")[2]) if " -> " in size else None
    if layer in ("LSTM", "GRU", "SimpleRNN"):
        hidden = int(size.rpartition("x")[2])
        return getattr(nn, layer.removeprefix("Simple"))(channels, hidden, batch_first=True)
    return {
        "BatchNormalization": lambda: (
            Pooled(nn.BatchNorm2d(channels)) if len(shape) == 4 else nn.BatchNorm1d(channels)
        ),
        "LayerNormalization": lambda: nn.LayerNorm(channels),
        "Dropout": lambda: nn.Dropout(0.5),
        "MaxPooling2D": lambda: Pooled(nn.MaxPool2d(2)),
        "AveragePooling2D": lambda: Pooled(nn.AvgPool2d(2)),
        "ReLU": nn.ReLU,
        "Flatten": nn.Flatten,
        "Conv1D": lambda: Pooled(nn.Conv1d(channels, target, 5, padding="same")),
        "Conv2D": lambda: Pooled(nn.Conv2d(channels, target, 3, padding="same")),
        "Conv3D": lambda: Pooled(nn.Conv3d(channels, target, 3, padding="same")),
        "Conv2DTranspose": lambda: Pooled(
            nn.ConvTranspose2d(channels, target, 3, 2, padding=1, output_padding=1)
        ),
        "Dense": lambda: nn.Linear(channels, target),
        "Embedding": lambda: nn.Embedding(50_000, 300, sparse=True),
    }.get(layer, lambda: None)()


def main():
    torch.set_num_threads(int(sys.argv[1]))
    module = x = None
    for line in sys.stdin:
        question = json.loads(line)
        if "prepare" in question:
            layer, shape = question["prepare"], question["shape"]
            module = build(layer, question["size"], shape)
            integers = layer == "Embedding"
            x = torch.randint(0, 50_000, shape) if integers else torch.randn(shape)
            x.requires_grad_(not integers)
            answer = module is not None
        elif "versions" in question:
            answer = {"torch": torch.__version__}
        else:
            step = question["time"] == "step"
            module.train(step)
            start = time.perf_counter()
            with torch.set_grad_enabled(step):
                y = module(x)
                y = y[0] if isinstance(y, tuple) else y
                if step:
                    points = [p for p in (x, *module.parameters()) if p.requires_grad]
                    torch.autograd.grad(y, points, torch.ones_like(y))
            answer = time.perf_counter() - start
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
