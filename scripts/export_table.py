"""What exported models cost beside Keras's: python -m scripts.export_table

Each family of models/, built of these layers and of Keras's, in each format: the milliseconds of a
call of one example on one thread (medians of the processor's time; the two sides are timed in
turn), the ratio Keras/ours (above 1: ours is faster), operations, and bytes. A cell is empty where
a format lacks an operation.
"""

import os

from scripts.benchmark.models import families
from scripts.benchmark.results import results_path, write_csv
from scripts.export import costs
from scripts.training import command_line, record


def main(arguments=None):
    names = [family.name for family in families()]
    parser = command_line.Parser(prog="python -m scripts.export_table", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, metavar="MODEL", help="just these")
    parser.add_argument(
        "--formats",
        nargs="+",
        choices=costs.FORMATS,
        default=tuple(costs.FORMATS),
        help="just these",
    )
    parser.add_argument("--pairs", type=command_line.count, default=15, help="how often timed")
    parser.add_argument("--csv", action="store_true", help="write to scripts/results/")
    with command_line.one_line_errors():
        options = parser.parse_args(arguments)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])  # before TensorFlow's threads
    rows = []
    print(record.markdown(costs.COLUMNS, []), flush=True)
    for family in families():
        for format in options.formats if family.name in (options.only or names) else ():
            rows.append(costs.compare(family, format, options.pairs))
            line = record.markdown(rows[-1].values(), [])
            print(line.partition("\n")[0], flush=True)
    if options.csv:
        path = results_path("costs", "graph", kind="export")
        write_csv(path, rows, columns=costs.COLUMNS, module="scripts.export_table")


if __name__ == "__main__":
    main()
