"""Train on several local worker processes: python -m scripts.launch RECIPE --workers 2 [...].

Further arguments go to scripts.train. When a worker dies, the others end too, since they cannot go
on without it, and all are started again from the last checkpoint, as a cluster manager does.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from scripts.recipes import find
from scripts.training import command_line

PATIENCE = 15  # seconds in which the other workers may end by themselves when one is lost


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


def start(arguments, workers, folder):
    """Start the workers; only the first writes to this terminal."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
    processes = []
    for index in range(workers):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        log = None
        if index:
            folder.parent.mkdir(parents=True, exist_ok=True)
            log = (folder.parent / f"{folder.name}-worker-{index}.log").open("a", encoding="utf-8")
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "scripts.train", *arguments],
                env={**os.environ, "TF_CONFIG": config},
                stdout=log,
                stderr=log and subprocess.STDOUT,
                start_new_session=True,  # we pass an interrupt on, once
            )
        )
    return processes


def wait(processes):
    """Wait until all have ended; when one fails, the others have PATIENCE to notice.

    Returns:
        The exit statuses, negative for a signal.
    """
    lost = None
    while any(process.poll() is None for process in processes):
        if lost is None and any(process.poll() not in (None, 0) for process in processes):
            lost = time.monotonic()
        if lost is not None and time.monotonic() - lost > PATIENCE:
            stop(processes, signal.SIGKILL)
        time.sleep(0.1)
    return [process.returncode for process in processes]


def stop(processes, number):
    for process in processes:
        if process.poll() is None:
            process.send_signal(number)


def launch(arguments, folder, workers, restarts):
    """Run the workers until they succeed. Returns the exit status."""
    for attempt in range(restarts + 1):
        begin = ["--resume", str(folder)] if attempt else ["--output", str(folder)]
        own = [a for a in arguments if not (attempt and a == "--overwrite")]
        processes = start([*own, "--strategy", "multiworker", *begin], workers, folder)
        try:
            codes = wait(processes)
        except KeyboardInterrupt:
            stop(processes, signal.SIGINT)
            wait(processes)
            return 130
        if not any(codes):
            return 0
        print(f"workers ended with {codes}", file=sys.stderr)
        if 2 in codes:  # a mistake of the user, which a restart does not fix
            return 2
    print(f"gave up after {restarts} restarts", file=sys.stderr)
    return command_line.LOST_WORKER


def main(arguments=None):
    parser = command_line.worker_parser("launch", __doc__, "workers")
    options, others = parser.parse_known_args(arguments)
    with command_line.one_line_errors():
        find(options.recipe)
    folder = pathlib.Path(options.output or f"runs/{options.recipe}/workers")
    sys.exit(launch([options.recipe, *others], folder, options.workers, options.restarts))


if __name__ == "__main__":
    main()
