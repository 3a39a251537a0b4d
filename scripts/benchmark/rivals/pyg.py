"""The graph layers of PyG, in the Python of `loop.py`: nothing else of this project is imported.

The forms are the fastest ones that we know: words as a sparse matrix, whose dropout and product
cost only its entries; the norm of a citation graph computed once (`cached`).
"""

import numpy as np
import torch
import torch.nn.functional as F
import torch_geometric
from pytorch import forward_and_step
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GATConv, GCNConv, GINConv, global_add_pool


class Nodes(torch.nn.Module):
    """GCN or GAT of two layers; x W of the sparse features is a sparse product before the first."""

    def __init__(self, a, first, second, dropout, activation):
        super().__init__()
        nodes, each = a["ids"].shape
        rows = torch.arange(nodes).repeat_interleave(each)
        x = torch.sparse_coo_tensor(
            torch.stack([rows, a["ids"].reshape(-1).long()]),
            a["weights"].reshape(-1),
            (nodes, int(a["words"])),
        ).coalesce()
        self.indices, self.values, self.shape = x.indices(), x.values(), x.shape
        width = first.heads * first.out_channels if hasattr(first, "heads") else first.out_channels
        self.kernel = torch.nn.Parameter(torch.empty(self.shape[1], width))
        torch.nn.init.xavier_uniform_(self.kernel)
        first.lin = torch.nn.Identity()
        self.first, self.second = first, second
        self.dropout, self.activation = dropout, activation

    def forward(self, edges):
        kept = F.dropout(self.values, self.dropout, self.training)
        x = torch.sparse_coo_tensor(self.indices, kept, self.shape, is_coalesced=True)
        x = self.activation(self.first(torch.sparse.mm(x, self.kernel), edges))
        return self.second(F.dropout(x, self.dropout, self.training), edges)


class Graphs(torch.nn.Module):
    """The GIN of models/graph_classifier.py."""

    def __init__(self, features, classes, width=32, blocks=4):
        super().__init__()
        sizes = [features] + [width] * blocks
        self.convs = torch.nn.ModuleList(
            GINConv(
                torch.nn.Sequential(
                    torch.nn.Linear(i, width),
                    torch.nn.BatchNorm1d(width),
                    torch.nn.ReLU(),
                    torch.nn.Linear(width, width),
                    torch.nn.BatchNorm1d(width),
                    torch.nn.ReLU(),
                ),
                train_eps=True,
            )
            for i in sizes[:-1]
        )
        self.last = torch.nn.Linear(sum(sizes), classes)

    def forward(self, x, edges, graph_ids, count):
        pooled = [global_add_pool(x, graph_ids, count)]
        for conv in self.convs:
            x = conv(x, edges)
            pooled.append(global_add_pool(x, graph_ids, count))
        return self.last(F.dropout(torch.cat(pooled, 1), 0.5, self.training))


def node_step(a, model, penalized):
    edges, labels, known = a["edges"].T.long().contiguous(), a["labels"].long(), a["known"]
    others = [p for p in model.parameters() if all(p is not q for q in penalized)]
    groups = [{"params": penalized, "weight_decay": 5e-4}, {"params": others}]
    optimizer = torch.optim.Adam([g for g in groups if g["params"]], lr=0.01)

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(edges)[known], labels[known])
        loss.backward()
        optimizer.step()

    return repeated(step, a["steps"], "steps")


def repeated(function, count, what):
    def several():
        for _ in range(int(count)):
            function()

    return {f"{int(count)} {what}": several}


def gcn(a):
    first, second = (GCNConv(16, o, bias=False, cached=True) for o in (16, 7))
    model = Nodes(a, first, second, 0.5, torch.relu)
    return node_step(a, model, [model.kernel])


def gat(a):
    first = GATConv(64, 8, 8, dropout=0.6)
    model = Nodes(a, first, GATConv(64, 7, 1, concat=False, dropout=0.6), 0.6, F.elu)
    return node_step(a, model, list(model.parameters()))


def layer(conv):
    return lambda a: forward_and_step(conv, a["nodes"], a["edges"].T.long().contiguous())


def gin(a):
    node_ends, edge_ends = (a[f"{k}_counts"].cumsum(0)[:-1] for k in ("node", "edge"))
    parts = zip(
        a["nodes"].tensor_split(node_ends),
        a["edges"].long().tensor_split(edge_ends),
        a["labels"].long(),
        strict=True,
    )
    graphs = [Data(x=x, edge_index=e.T.contiguous(), y=y) for x, e, y in parts]
    loader = DataLoader(graphs, batch_size=int(a["batch_size"]), shuffle=True)
    model = Graphs(a["nodes"].shape[1], 1 + int(a["labels"].max()))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def epoch():
        for batch in loader:
            optimizer.zero_grad()
            y = model(batch.x, batch.edge_index, batch.batch, batch.num_graphs)
            F.cross_entropy(y, batch.y).backward()
            optimizer.step()

    return repeated(epoch, a["epochs"], "epochs")


CASES = {
    "GCN": gcn,
    "GAT": gat,
    "GraphConv": layer(GCNConv(128, 128)),
    "GATConv": layer(GATConv(128, 8, 8)),
    "GIN": gin,
}


def prepare(name, size, arrays):
    return CASES[name]({key: torch.from_numpy(np.asarray(a)) for key, a in arrays.items()})


def versions():
    return {"torch": torch.__version__, "torch_geometric": torch_geometric.__version__}
