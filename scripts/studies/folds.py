"""Classify whole graphs by ten folds, as in the paper of GIN:

    python -m scripts.studies.folds tu/mutag --download-dir DOWNLOADS

Each fold tests a model that was trained on the other nine. As in the paper, which has no validation
part, the figure is that of the epoch with the best mean accuracy over all folds: the test parts
choose one number, so it is a little too good, as all published ones are. Units, dropout and batch
size lie in the ranges that the paper searched; this command does not search them.
"""

import time

from scripts.training import command_line, record

FOLDS = 10


def folds(labels):
    """`[(train, test)]`, indices of graphs; each fold has the class proportions of the whole."""
    import numpy as np
    from sklearn.model_selection import StratifiedKFold

    cutter = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return list(cutter.split(np.zeros(len(labels)), labels))


def accuracies(graphs, labels, classes, train, test, settings):
    """Accuracy on the graphs with indices `test` after each epoch on those with `train`."""
    import keras
    import tensorflow as tf

    from custom_layers.graphs import pack
    from models.graph_classifier import graph_classifier

    def examples(rows):
        for i in rows:
            yield graphs[i], labels[i]

    width = graphs[0]["nodes"].shape[1]
    spec = {"nodes": tf.TensorSpec((None, width)), "edges": tf.TensorSpec((None, 2), tf.int32)}
    signature = spec, tf.TensorSpec((), tf.int64)

    def part(rows):
        return tf.data.Dataset.from_generator(lambda: examples(rows), output_signature=signature)

    # One pipeline for all epochs and one batch for the test: starting a pipeline takes longer than
    # an epoch of so few graphs.
    shuffled = part(train).cache().shuffle(len(train), seed=0)
    training = pack(shuffled, settings["batch_size"]).repeat().prefetch(tf.data.AUTOTUNE)
    testing = tf.data.Dataset.from_tensors(next(iter(pack(part(test), len(test)))))

    keras.utils.set_random_seed(0)
    keras.backend.clear_session()
    model = graph_classifier(
        width, classes, units=(settings["units"],) * 5, dropout=settings["dropout"], l2=0.0
    )
    steps = -(-len(train) // settings["batch_size"])
    # As in the paper, halved every 50 epochs.
    rate = keras.optimizers.schedules.ExponentialDecay(0.01, 50 * steps, 0.5, staircase=True)
    model.compile(
        keras.optimizers.Adam(rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=steps,  # `fit` takes as long around a step as the step does
    )
    return model.fit(
        training,
        steps_per_epoch=steps,
        validation_data=testing,
        epochs=settings["epochs"],
        shuffle=False,
        verbose=0,
    ).history["val_accuracy"]


def main(arguments=None):
    parser = command_line.Parser(prog="python -m scripts.studies.folds", description=__doc__)
    parser.add_argument("data", help="for example tu/mutag")
    parser.add_argument("--epochs", type=command_line.count, default=350, help="of each fold")
    parser.add_argument("--units", type=command_line.count, default=32, help="of each layer")
    parser.add_argument("--batch-size", type=command_line.count, default=32, help="graphs a step")
    parser.add_argument(
        "--dropout", type=command_line.fraction, default=0.5, help="before the answer"
    )
    parser.add_argument("--data-dir", help="prepared data (default: ~/tensorflow_datasets)")
    parser.add_argument("--download-dir", help="files as downloaded (default: below --data-dir)")
    parser.add_argument("--output", default="scripts/results", help="folder of the table")
    with command_line.one_line_errors():
        print(write(parser.parse_args(arguments)))


def write(options):
    """Train all folds and write their table. Returns a summary of one line."""
    import numpy as np

    from scripts.data.prepare import prepare

    builder = prepare(options.data, options.data_dir, options.download_dir)
    rows = list(builder.as_dataset(split="train", shuffle_files=False).as_numpy_iterator())
    labels = np.array([row["labels"] for row in rows])
    graphs = [
        {"nodes": row["node_feat"], "edges": row["edge_index"].astype("int32")} for row in rows
    ]
    classes = builder.info.features["labels"].num_classes
    settings = {key: getattr(options, key) for key in ("epochs", "units", "batch_size", "dropout")}
    table, begun = [], time.perf_counter()
    for number, (train, test) in enumerate(folds(labels), 1):
        table.append(accuracies(graphs, labels, classes, train, test, settings))
        print(f"{options.data} fold {number}: {max(table[-1]):.3f} at best", flush=True)
    seconds, table = time.perf_counter() - begun, np.array(table)
    best = int(table.mean(0).argmax())
    mean, deviation = float(table[:, best].mean()), float(table[:, best].std())
    about = {
        "data": options.data,
        "settings": settings,
        "epoch": best + 1,
        "mean": round(mean, 4),
        "deviation": round(deviation, 4),
        "mean_of_last_epoch": round(float(table[:, -1].mean()), 4),
        "seconds": round(seconds),
    }
    name = f"{options.data.rpartition('/')[2]}-gin-folds"
    lines = [(i, f"{row[best]:.4f}") for i, row in enumerate(table, 1)]
    record.write_table(options.output, name, about, ["fold", "accuracy"], lines)
    return (
        f"{options.data}: {100 * mean:.1f} +- {100 * deviation:.1f} at epoch {best + 1} of "
        f"{options.epochs} (last: {100 * table[:, -1].mean():.1f}), {seconds:.0f} s"
    )


if __name__ == "__main__":
    main()
