"""The models of models/ as plain modules of PyTorch, and an epoch of a plain loop.

It runs in the Python of `loop.py`: nothing else of this project is imported. Images have their
channels last in memory, which is the fastest form on a CPU.
"""

import os

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(len(os.sched_getaffinity(0)))  # as TensorFlow does

WORDS = 5000
PENALTY = 2e-4  # of Adam, the derivative of 1e-4 Σ W²


def convnet(x, y):
    def block(i, o):
        return nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(o)

    places = (x.shape[2] // 4) * (x.shape[3] // 4)
    return nn.Sequential(
        *block(x.shape[1], 32), nn.Dropout(0.25), *block(32, 64), nn.Dropout(0.25), nn.Flatten(),
        nn.Linear(64 * places, 128), nn.ReLU(), nn.Dropout(0.25), nn.Linear(128, 10),
    )  # fmt: skip


class Residual(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.norm = nn.Sequential(nn.BatchNorm2d(i), nn.ReLU())
        self.skip = nn.Identity()
        if i != o:
            self.skip = nn.Conv2d(i, o, 1, stride, bias=False)
        self.inner = nn.Sequential(
            nn.Conv2d(i, o, 3, stride, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(),
            nn.Dropout(0.25), nn.Conv2d(o, o, 3, padding=1, bias=False),
        )  # fmt: skip

    def forward(self, x):
        y = self.norm(x)
        return (x if isinstance(self.skip, nn.Identity) else self.skip(y)) + self.inner(y)


def resnet(x, y):
    return nn.Sequential(
        nn.Conv2d(x.shape[1], 16, 3, padding=1, bias=False),
        *(Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2)),
        *(nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        *(nn.Dropout(0.25), nn.Linear(64, 10)),
    )


class UNet(nn.Module):
    def __init__(self, channels, classes, filters=(16, 32, 64)):
        super().__init__()

        def level(i, o):
            parts = [(nn.Conv2d(n, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
                     for n in (i, o)]  # fmt: skip
            return nn.Sequential(*parts[0], *parts[1])

        a, b, c = filters
        self.down = nn.ModuleList([level(channels, a), level(a, b)])
        self.bottom = nn.Sequential(level(b, c), nn.Dropout(0.25))
        self.raised = nn.ModuleList(nn.ConvTranspose2d(2 * o, o, 2, 2) for o in (b, a))
        self.up = nn.ModuleList(level(2 * o, o) for o in (b, a))
        self.last = nn.Conv2d(a, classes, 1)

    def forward(self, x):
        kept = []
        for level in self.down:
            kept.append(level(x))
            x = F.max_pool2d(kept[-1], 2)
        x = self.bottom(x)
        for raised, level in zip(self.raised, self.up, strict=True):
            x = level(torch.cat([kept.pop(), raised(x)], 1))
        return self.last(x)


def unet(x, y):
    return UNet(x.shape[1], 3)


class Recurrent(nn.Module):
    """Padding, 0, is left out: the states are those after the last word."""

    def __init__(self, cell):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 64)
        self.recurrent = cell(64, 64, batch_first=True, bidirectional=True)
        self.last = nn.Sequential(nn.Dropout(0.5), nn.Linear(128, 8))

    def forward(self, ids):
        x = F.dropout(self.embedding(ids), 0.5, self.training)
        lengths = (ids != 0).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=True, enforce_sorted=False
        )
        _, states = self.recurrent(packed)
        states = states[0] if isinstance(states, tuple) else states
        return self.last(torch.cat([states[0], states[1]], 1))


class Transformer(nn.Module):
    def __init__(self, length):
        super().__init__()
        self.embedding, self.position = nn.Embedding(WORDS, 64), nn.Embedding(length, 64)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(64, 4, 128, 0.2, batch_first=True, norm_first=True)
            for _ in range(2)
        )
        self.norm, self.last = nn.LayerNorm(64), nn.Sequential(nn.Dropout(0.2), nn.Linear(64, 8))

    def forward(self, ids):
        seen = ids != 0
        x = self.embedding(ids) + self.position.weight
        x = F.dropout(x, 0.2, self.training)
        for block in self.blocks:
            x = block(x, src_key_padding_mask=~seen)
        x = self.norm(x) * seen[:, :, None]
        return self.last(x.sum(1) / seen.sum(1, keepdim=True))


class VAE(nn.Module):
    """A call returns the images and the divergence."""

    def __init__(self, shape, latent=8):
        super().__init__()
        channels, height, width = shape
        h, w = height // 4, width // 4
        self.encode = nn.Sequential(
            nn.Conv2d(channels, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(64 * h * w, 2 * latent),
        )  # fmt: skip
        self.decode = nn.Sequential(
            nn.Linear(latent, 64 * h * w), nn.ReLU(), nn.Unflatten(1, (64, h, w)),
            nn.ConvTranspose2d(64, 64, 3, 2, 1, 1), nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 3, 2, 1, 1), nn.ReLU(),
            nn.Conv2d(32, channels, 3, padding=1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x):
        mean, log_variance = self.encode(x).chunk(2, 1)
        divergence = (mean**2 + log_variance.exp() - log_variance - 1).sum(1).mean() / 2
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        return self.decode(z), divergence / x[0].numel()


def loss_of_vae(y, images):
    return F.mse_loss(y[0], images) + y[1]


MODELS = {  # the module of x and y, its loss, the penalty
    "convnet": (convnet, F.cross_entropy, PENALTY),
    "resnet": (resnet, F.cross_entropy, PENALTY),
    "unet": (unet, F.cross_entropy, PENALTY),
    "vae": (lambda x, y: VAE(x.shape[1:]), loss_of_vae, 0.0),
    "text_rnn lstm": (lambda x, y: Recurrent(nn.LSTM), F.cross_entropy, PENALTY),
    "text_rnn gru": (lambda x, y: Recurrent(nn.GRU), F.cross_entropy, PENALTY),
    "transformer": (lambda x, y: Transformer(x.shape[1]), F.cross_entropy, PENALTY),
}


def tensor(array):
    """Images with their channels second in shape and last in memory; whole numbers as int64."""
    x = torch.from_numpy(array)
    x = x if x.is_floating_point() else x.long()
    return x.movedim(-1, 1) if x.is_floating_point() and x.ndim == 4 else x


def loop(model, loss, x, y, batch, penalty):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=penalty)

    def epoch():
        for rows in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()

    return epoch


def prepare(name, size, arrays):
    """An epoch, and one of what torch.compile makes of the module where that works."""
    make, loss, penalty = MODELS[name]
    x, y, batch = tensor(arrays["x"]), tensor(arrays["y"]), int(arrays["batch"])
    epochs = {"epoch": loop(make(x, y), loss, x, y, batch, penalty)}
    compiled = loop(torch.compile(make(x, y)), loss, x, y, batch, penalty)
    try:
        compiled()
    except Exception:  # of many kinds: no compiler here, or a part that it cannot trace
        return epochs
    return epochs | {"epoch beside torch.compile": compiled}


def versions():
    return {"torch": torch.__version__}
