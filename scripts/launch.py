"""Train on several local worker processes: python -m scripts.launch RECIPE --workers 2 [...].

Further arguments go to scripts.train. When a worker dies, the others end too, since they cannot go
on without it, and all are started again from the last checkpoint, as a cluster manager does.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from scripts.recipes import find
from scripts.training import command_line, distributed


def free_ports(count):
    """Ports of the loopback interface that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextlib.contextmanager
def workers_of(arguments, count, folder):
    """Start the workers, which are gone afterwards, however this ends; `wait` gives them time.

    Only the first writes to this terminal.
    """
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    read, write = os.pipe()  # it closes with this process, whatever ends that
    processes = []
    try:
        for index in range(count):
            task = {"type": "worker", "index": index}
            config = json.dumps({"cluster": {"worker": addresses}, "task": task})
            with log_of(index, folder) as log:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "scripts.train", *arguments],
                        env={**os.environ, "TF_CONFIG": config, distributed.LAUNCHER: str(read)},
                        stdout=log,
                        stderr=log and subprocess.STDOUT,
                        start_new_session=True,  # we pass an interrupt on, once
                        pass_fds=[read],
                    )
                )
        yield processes
    finally:
        send(processes, signal.SIGKILL)
        for process in processes:
            process.wait()
        os.close(read)
        os.close(write)


def log_of(index, folder):
    """The file that a worker writes to; None for the first one's terminal."""
    if index == 0:
        return contextlib.nullcontext()
    folder.parent.mkdir(parents=True, exist_ok=True)
    return (folder.parent / f"{folder.name}-worker-{index}.log").open("a", encoding="utf-8")


def wait(processes, ending=False):
    """Wait until all have ended; when one fails, or all are `ending`, others have PATIENCE.

    Returns:
        The exit statuses, negative for a signal.
    """
    lost = time.monotonic() if ending else None
    while any(process.poll() is None for process in processes):
        if lost is None and any(process.poll() not in (None, 0) for process in processes):
            lost = time.monotonic()
        if lost is not None and time.monotonic() - lost > distributed.PATIENCE:
            send(processes, signal.SIGKILL)
        time.sleep(0.1)
    return [process.returncode for process in processes]


def send(processes, number):
    for process in processes:
        if process.poll() is None:
            process.send_signal(number)


def launch(arguments, folder, workers, restarts, resume=False):
    """Run the workers until they succeed. Returns the exit status."""
    for attempt in range(restarts + 1):
        again = resume or attempt
        begin = ["--resume" if again else "--output", str(folder)]
        own = [a for a in arguments if not (again and a == "--overwrite")]
        command = [*own, "--strategy", "multiworker", *begin]
        with workers_of(command, workers, folder) as processes:
            try:
                codes = wait(processes)
            except KeyboardInterrupt:
                send(processes, signal.SIGTERM)
                wait(processes, ending=True)
                raise
        if not any(codes):
            return 0
        print(f"workers ended with {codes}", file=sys.stderr)
        if 2 in codes:  # a mistake of the user, which a restart does not fix
            return 2
    print(f"gave up after {restarts} restarts", file=sys.stderr)
    return command_line.LOST_WORKER


def main(arguments=None):
    parser = command_line.worker_parser("launch", __doc__, "workers")
    parser.add_argument(
        "--resume", metavar="RUN", help="continue an interrupted run (default: begin a new one)"
    )
    options, others = parser.parse_known_args(arguments)
    resume = options.resume is not None
    folder = pathlib.Path(options.resume or options.output or f"runs/{options.recipe}/workers")
    task = [options.recipe, "--workers", options.workers, "--resume", folder]
    with command_line.one_line_errors(), command_line.ended_by_signals():
        find(options.recipe)
        try:
            code = launch(
                [options.recipe, *others], folder, options.workers, options.restarts, resume
            )
        except KeyboardInterrupt:
            again = command_line.shell_command("scripts.launch", *task)
            print(f"interrupted; to continue: {again}", file=sys.stderr)
            code = command_line.INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
