"""Train a model of nodes with many seeds, and write the figures of the test part:

    python -m scripts.studies.graph_table cora-gcn --seeds 20 --download-dir DOWNLOADS

Each seed counts by its accuracy at the epoch of the best validation loss. The whole graph is one
step, and that step, validation included, is one function compiled by XLA: `fit` takes longer for
what is around it. Settings are those of the papers that the layers name.
"""

import csv
import dataclasses
import json
import pathlib
import time

from scripts.training import command_line, record


@dataclasses.dataclass(frozen=True)
class Row:
    """What a paper trains: the layer, arguments of `node_classifier`, and of the training."""

    data: str
    conv: str
    options: dict
    learning_rate: float = 0.01
    epochs: int = 200
    patience: int | None = None  # epochs without a better validation loss; None: no early end


GAT = {"units": 8, "dropout": 0.6, "l2": 2.5e-4}
ROWS = {
    "cora-gcn": Row("planetoid/cora", "GraphConv", {"units": 16, "dropout": 0.5, "l2": 2.5e-4}),
    "cora-gat": Row("planetoid/cora", "GATConv", GAT, 0.005, 1000, 100),
    "cora-sgc": Row("planetoid/cora", "SGConv", {"dropout": 0.0, "l2": 6.5e-6}, 0.2, 100),
    "cora-appnp": Row(
        "planetoid/cora",
        "APPNP",
        {"units": 64, "dropout": 0.5, "l2": 2.5e-3},
        epochs=1000,
        patience=100,
    ),
    "cora-sage": Row("planetoid/cora", "SAGEConv", {"units": 16, "dropout": 0.5, "l2": 2.5e-4}),
    "citeseer-gcn": Row(
        "planetoid/citeseer", "GraphConv", {"units": 16, "dropout": 0.5, "l2": 2.5e-4}
    ),
    "citeseer-gat": Row("planetoid/citeseer", "GATConv", GAT, 0.005, 1000, 100),
}


def train(row, data, seed):
    """Accuracy on the test part, at which epoch, and milliseconds of a training step."""
    import keras
    import tensorflow as tf

    import custom_layers
    from models.node_classifier import node_classifier

    keras.utils.set_random_seed(seed)
    keras.backend.clear_session()
    conv = getattr(custom_layers, row.conv)
    model = node_classifier(data.features, len(data.classes), conv=conv, **row.options)
    optimizer = keras.optimizers.Adam(row.learning_rate)
    optimizer.build(model.trainable_variables)
    crossentropy = keras.losses.SparseCategoricalCrossentropy(reduction="none")
    inputs = [tf.constant(x) for x in (data.ids, data.weights, data.edges)]
    labels = tf.constant(data.labels)

    def mean(values, part):
        return tf.reduce_mean(tf.gather(values, data.of(part)))

    @tf.function(jit_compile=True)
    def step():
        with tf.GradientTape() as tape:
            losses = crossentropy(labels, model(inputs, training=True))
            loss = tf.add_n([mean(losses, "train"), *model.losses])
        optimizer.apply(tape.gradient(loss, model.trainable_variables))

    @tf.function(jit_compile=True)
    def measure():
        probabilities = model(inputs, training=False)
        right = tf.cast(tf.argmax(probabilities, -1) == labels, tf.float32)
        loss = mean(crossentropy(labels, probabilities), "validation")
        return tf.add_n([loss, *model.losses]), mean(right, "test")

    best, seconds = (float("inf"), 0.0, 0), []
    for epoch in range(1, row.epochs + 1):
        begun = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begun)
        loss, accuracy = (float(value) for value in measure())
        if loss < best[0]:
            best = loss, accuracy, epoch
        if row.patience is not None and epoch - best[2] >= row.patience:
            break
    return best[1], best[2], 1000 * sorted(seconds)[len(seconds) // 2]


def main(arguments=None):
    parser = command_line.Parser(prog="python -m scripts.studies.graph_table", description=__doc__)
    parser.add_argument("rows", nargs="+", choices=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--seeds", type=command_line.count, default=20, help="how many, from 0 on")
    parser.add_argument("--data-dir", help="prepared data (default: ~/tensorflow_datasets)")
    parser.add_argument("--download-dir", help="files as downloaded (default: below --data-dir)")
    parser.add_argument("--output", default="scripts/results", help="folder of the tables")
    with command_line.one_line_errors():
        options = parser.parse_args(arguments)
        for name in options.rows:
            print(write(name, options), flush=True)


def write(name, options):
    """Train a row with all seeds and write its table. Returns a line that sums it up."""
    import numpy as np

    from scripts.data.nodes import load_nodes

    row = ROWS[name]
    data = load_nodes(
        row.data,
        batch_size=1,
        seed=0,
        data_dir=options.data_dir,
        download_dir=options.download_dir,
    )
    lines, begun = [], time.perf_counter()
    for seed in range(options.seeds):
        accuracy, epoch, milliseconds = train(row, data, seed)
        lines.append((seed, f"{accuracy:.4f}", epoch, f"{milliseconds:.1f}"))
        print(f"{name} seed {seed}: {accuracy:.4f} at epoch {epoch}", flush=True)
    seconds = time.perf_counter() - begun
    accuracies = np.array([float(line[1]) for line in lines])
    about = {
        "recipe": name,
        "settings": dataclasses.asdict(row),
        "seeds": options.seeds,
        "mean": round(float(accuracies.mean()), 4),
        "deviation": round(float(accuracies.std()), 4),
        "seconds": round(seconds),
    }
    write_table(
        pathlib.Path(options.output),
        name,
        about,
        ["seed", "test_accuracy", "best_epoch", "milliseconds_a_step"],
        lines,
    )
    return (
        f"{name}: {100 * accuracies.mean():.2f} +- {100 * accuracies.std():.2f} "
        f"({options.seeds} seeds, {seconds:.0f} s)"
    )


def write_table(folder, name, about, columns, rows):
    """Write `<name>-<device>-tf<version>.csv`; its first line says how it came about, in JSON."""
    import tensorflow as tf

    device = "gpu" if tf.config.list_physical_devices("GPU") else "cpu"
    about = about | {"versions": record.versions(), "device": record.device()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{device}-tf{tf.__version__}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {json.dumps(about)}\n")
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(rows)


if __name__ == "__main__":
    main()
