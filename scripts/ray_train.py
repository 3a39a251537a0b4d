"""Train on a Ray cluster, or on this machine as one: python -m scripts.ray_train RECIPE [...].

Further arguments go to scripts.train. Ray Train gives each worker its TF_CONFIG and, when one is
lost, ends them all and starts them again, which go on from the last checkpoint.
"""

import os
import sys

from scripts import launch
from scripts.training import command_line


def work(arguments):
    """What each worker does. It ends its process when another worker is gone."""
    from scripts import train

    try:
        train.main(arguments)
    except SystemExit as end:  # Ray restarts after an exception
        raise RuntimeError(f"scripts.train ended with status {end.code}") from end


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
    options, own = launch.read("ray_train", __doc__, "ray", arguments)
    folder = options.output.absolute()
    with command_line.one_line_errors():
        if folder.exists():
            raise command_line.InputError(f"{folder} exists: --output names another folder")
    # A worker that has nothing to resume yet begins anew.
    own += ["--strategy", "multiworker", "--resume", str(folder)]
    try:
        run(own, options.workers, options.restarts)
    except ImportError as error:
        sys.exit(f"error: {error}: pip install 'custom_layers[ray]'")


if __name__ == "__main__":
    main()
