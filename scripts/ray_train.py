"""Train on a Ray cluster, or on this machine as one: python -m scripts.ray_train RECIPE [...].

Further arguments are those of scripts.train. Ray Train gives each worker its TF_CONFIG. When a
worker is lost, Ray ends the others and starts all again; they go on from the last checkpoint.
"""

import os
import pathlib
import sys

from scripts import settings
from scripts.recipes import find
from scripts.training import command_line


def work(arguments):
    """What each worker does. It ends its process when another worker is gone."""
    from scripts.training import start

    # A worker that has nothing to resume yet starts from scratch.
    start.run(arguments["recipe"], arguments["given"], arguments["folder"], resume=True)


def run(arguments, workers, restarts):
    """Run the workers until they succeed. Raises ray.train.TrainingFailedError if they do not."""
    # Ray watches the processes; nothing is kept with it, the run folder is the result.
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.tensorflow import TensorflowTrainer

    ray.init(runtime_env={"env_vars": {"PYTHONPATH": os.getcwd()}}, log_to_driver=True)
    trainer = TensorflowTrainer(
        work,
        train_loop_config=arguments,
        scaling_config=ScalingConfig(num_workers=workers),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=restarts)),
    )
    trainer.fit()


def main(arguments=None):
    parser = command_line.worker_parser("ray_train", __doc__, "ray")
    settings.add_options(parser)
    options = parser.parse_args(arguments)
    folder = pathlib.Path(options.output or f"runs/{options.recipe}/ray").absolute()
    with command_line.one_line_errors():
        find(options.recipe)
        if folder.exists():
            raise command_line.InputError(f"{folder} exists: --output names another folder")
    given = {**settings.given(options), "strategy": "multiworker"}
    task = {"recipe": options.recipe, "given": given, "folder": str(folder)}
    try:
        run(task, options.workers, options.restarts)
    except ImportError as error:
        sys.exit(f"error: {error}: pip install 'custom_layers[ray]'")


if __name__ == "__main__":
    main()
