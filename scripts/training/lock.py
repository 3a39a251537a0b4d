"""lock: one process at a time writes a run; the lock ends with its process, however that ends."""

import contextlib
import fcntl
import os

from scripts.training.command_line import InputError


@contextlib.contextmanager
def locked(folder):
    """Hold the lock of a run, a file beside its folder that names this process.

    Raises:
        InputError: another process holds it.
    """
    path = folder.parent / f".{folder.name}.lock"
    descriptor = hold(path)
    if descriptor is None:
        holder = path.read_text(encoding="utf-8") if path.exists() else ""
        raise InputError(
            f"{folder} is being written by process {holder or 'unknown'}: wait for its end, or "
            "--output names another folder"
        )
    try:
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held, so that nobody else's goes
        os.close(descriptor)


def hold(path):
    """The open file at `path` with its lock, or None where another process has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                os.ftruncate(descriptor, 0)
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        os.close(descriptor)  # its holder has just removed it: the next one is a new file
