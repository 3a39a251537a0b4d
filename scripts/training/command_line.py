"""What the commands share: a user's mistake is one line on stderr, with exit status 2."""

import argparse
import contextlib
import dataclasses
import math
import os
import pathlib
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable

LOST_WORKER = 75  # exit status (EX_TEMPFAIL): nothing is wrong here, another worker is gone
INTERRUPTED = 130  # exit status, as of a program that Ctrl-C ended
LONGEST = 2000  # characters of an error


class InputError(Exception):
    """A mistake of the user; its text says what is wrong and what would be right."""


class MissingData(InputError):
    """A data set is neither on this machine nor can it be downloaded."""


@contextlib.contextmanager
def one_line_errors():
    """Turn an InputError into its one line and exit status 2; end quietly if nobody reads on."""
    try:
        yield
    except InputError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader has left, as in `--list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # drops what is left
        sys.exit(141)


def one_line(text):
    """A text without line ends, and without control characters, which a terminal would obey."""
    words = " ".join(text.split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."


def shell_command(module, *arguments):
    """The command that runs a module with this Python, to be pasted into a shell."""
    program = pathlib.Path(sys.executable)
    if program.is_relative_to(pathlib.Path.cwd()):
        program = program.relative_to(pathlib.Path.cwd())
    return shlex.join([str(program), "-m", module, *map(str, arguments)])


@contextlib.contextmanager
def ended_by_signals():
    """Inside, SIGTERM and SIGHUP do what Ctrl-C does; those that are ignored (nohup) stay so."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():  # only there can they be set
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Help(argparse.RawDescriptionHelpFormatter):
    """Tells the default of each option, behind its text; where the text tells it, it stays so."""

    def _get_help_string(self, action):
        text = action.help or ""
        if not action.option_strings or action.dest == "help" or "(default: " in text:
            return text
        default = action.default
        if default is None or default is False:
            default = "none" if default is None else "no"
        elif isinstance(default, (list, tuple)):
            default = ", ".join(default)
        shown = str(default) if str(default).isprintable() else repr(default)
        return f"{text} (default: {shown})".replace("%", "%%")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line too, and whose --help tells each default."""

    def __init__(self, **options):
        super().__init__(formatter_class=Help, **options)

    def error(self, message):
        self.exit(2, f"error: {one_line(message)} (--help lists the arguments)\n")


def worker_parser(name, description, folder):
    """The parser of a command that starts workers; what it does not know is for scripts.train."""
    parser = Parser(
        prog=f"python -m scripts.{name}",
        description=description,
        allow_abbrev=False,
    )
    parser.add_argument("recipe", metavar="RECIPE", help="what to train")
    parser.add_argument("--workers", type=count, default=2, help="how many processes")
    parser.add_argument("--restarts", type=seed, default=3, help="how often to start again")
    parser.add_argument("--output", help=f"run folder (default: runs/RECIPE/{folder})")
    return parser


@dataclasses.dataclass(frozen=True)
class Check:
    """A `type=` of argparse: the value that `convert` makes of a text, if `valid` holds for it."""

    expected: str
    convert: Callable
    valid: Callable = lambda value: True

    def __call__(self, text):
        try:
            value = self.convert(text)
            good = self.valid(value)
        except (ValueError, KeyError):
            good = False
        if not good:
            raise argparse.ArgumentTypeError(f"expected {self.expected}, received {text!r}")
        return value


def choice(*allowed):
    """One of these values, given by its text."""
    return Check(f"one of {allowed}", {str(value): value for value in allowed}.__getitem__)


def name(pattern):
    """A text that this regular expression matches as a whole."""
    return Check("a name", str, re.compile(pattern).fullmatch)


count = Check("a whole number of at least 1", int, lambda value: value >= 1)
seed = Check("a whole number from 0 to 4294967295", int, lambda value: 0 <= value < 2**32)
rate = Check("a number above 0", float, lambda value: 0 < value < math.inf)
factor = Check("a number of at least 0", float, lambda value: 0 <= value < math.inf)
fraction = Check("a number in [0, 1)", float, lambda value: 0 <= value < 1)
