"""Run by test_pyg.py in a Python with torch and torch_geometric: reads x.npz, writes y.npz.

For each layer: the output, and the gradients of Σ sin(output) for the nodes and each weight, under
the names that custom_layers gives to its weights.
"""

import sys

import numpy as np
import torch
from torch_geometric import nn

given = dict(np.load(sys.argv[1]))
answers = {}


def tensor(name):
    return torch.tensor(given[name], dtype=torch.float64, requires_grad=True)


def report(name, layer, weights, *inputs, edges="edges"):
    """weights: our name -> (parameter, how ours becomes theirs)."""
    layer = layer.double()
    ours = {key: tensor(f"{name}/{key}") for key in weights}
    theirs = dict(layer.named_parameters())
    new = {key: torch.zeros_like(value) for key, value in theirs.items()}
    for key, (parameter, convert) in weights.items():
        new[parameter] = new[parameter] + convert(ours[key]).reshape(new[parameter].shape)
    x = tensor("nodes")
    edges = torch.tensor(given[edges]).T
    y = torch.func.functional_call(layer, new, (x, edges, *inputs))
    torch.sin(y).sum().backward()
    answers[f"{name}/output"] = y.detach().numpy()
    answers[f"{name}/nodes"] = x.grad.numpy()
    for key, value in ours.items():
        answers[f"{name}/{key}"] = value.grad.numpy()


def same(w):
    return w


def t(w):
    return w.T


F, O, K, R = 4, 3, 2, 3
weights = torch.tensor(given["edge_weights"])
relations = torch.tensor(given["relations"])
report(
    "GraphConv",
    nn.GCNConv(F, O),
    {"kernel": ("lin.weight", t), "bias": ("bias", same)},
    weights,
)
report(
    "GATConv",
    nn.GATConv(F, O, heads=K),
    {
        "kernel": ("lin.weight", t),
        "attention_source": ("att_src", same),
        "attention_target": ("att_dst", same),
        "bias": ("bias", same),
    },
)
report(
    "GATv2Conv",
    nn.GATv2Conv(F, O, heads=K, concat=False),
    {
        "kernel": ("lin_l.weight", t),
        "target_kernel": ("lin_r.weight", t),
        "attention": ("att", same),
        "bias": ("bias", same),
    },
)
for aggregate in ("mean", "sum", "max"):
    # One of our kernels is two of theirs, so it is given twice.
    layer = nn.SAGEConv(F, O, aggr=aggregate, normalize=aggregate == "mean")
    given[f"{aggregate}/upper"] = given[f"SAGEConv {aggregate}/kernel"][:F]
    given[f"{aggregate}/lower"] = given[f"SAGEConv {aggregate}/kernel"][F:]
    given[f"{aggregate}/bias"] = given[f"SAGEConv {aggregate}/bias"]
    report(
        aggregate,
        layer,
        {
            "upper": ("lin_r.weight", t),
            "lower": ("lin_l.weight", t),
            "bias": ("lin_l.bias", same),
        },
    )
    name = f"SAGEConv {aggregate}"
    for key in ("output", "nodes", "bias"):
        answers[f"{name}/{key}"] = answers.pop(f"{aggregate}/{key}")
    halves = [answers.pop(f"{aggregate}/{half}") for half in ("upper", "lower")]
    answers[f"{name}/kernel"] = np.concatenate(halves)
report(
    "GINConv",
    nn.GINConv(torch.nn.Linear(F, O), train_eps=True),
    {"epsilon": ("eps", same), "kernel": ("nn.weight", t), "bias": ("nn.bias", same)},
)
report(
    "RGCNConv",
    nn.RGCNConv(F, O, R, num_bases=2),
    {
        "self_kernel": ("root", same),
        "kernel": ("weight", same),
        "coefficients": ("comp", same),
        "bias": ("bias", same),
    },
    relations,
)
report("APPNP", nn.APPNP(5, 0.2), {}, weights)
report(
    "EdgeConv",
    nn.EdgeConv(torch.nn.Linear(2 * F, O)),
    {"kernel": ("nn.weight", t), "bias": ("nn.bias", same)},
)
report("SGConv", nn.SGConv(F, O, K=2), {"kernel": ("lin.weight", t), "bias": ("lin.bias", same)})
report(
    "ChebConv",
    nn.ChebConv(F, O, K=3),
    {
        **{f"kernel {k}": (f"lins.{k}.weight", t) for k in range(3)},
        "bias": ("bias", same),
    },
    edges="both_ways",
)
kernels = [answers.pop(f"ChebConv/kernel {k}") for k in range(3)]
answers["ChebConv/kernel"] = np.stack(kernels)
np.savez(sys.argv[2], **answers)
