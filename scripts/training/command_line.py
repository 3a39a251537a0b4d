"""What the commands have in common: a mistake of the user is one line on stderr, exit status 2."""

import argparse
import contextlib
import math
import os
import sys

LOST_WORKER = 75  # exit status (EX_TEMPFAIL): nothing is wrong here, another worker is gone


class InputError(Exception):
    """A mistake of the user; its text says what is wrong and what would be right."""


@contextlib.contextmanager
def one_line_errors():
    """Turn an InputError into its one line and exit status 2; end in silence without a reader."""
    try:
        yield
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # nobody reads on, as after `--list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left goes nowhere
        sys.exit(141)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line too."""

    def error(self, message):
        self.exit(2, f"error: {message} (--help lists the arguments)\n")


def number(kind, expected, valid):
    """A `type=` of argparse: a number of `kind` for which `valid` holds."""

    def convert(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not valid(value):
            raise argparse.ArgumentTypeError(f"expected {expected}, received {text!r}")
        return value

    return convert


count = number(int, "a whole number of at least 1", lambda value: value >= 1)
seed = number(int, "a whole number from 0 to 4294967295", lambda value: 0 <= value < 2**32)
rate = number(float, "a number above 0", lambda value: 0 < value < math.inf)
factor = number(float, "a number of at least 0", lambda value: 0 <= value < math.inf)
fraction = number(float, "a number from 0 to below 1", lambda value: 0 <= value < 1)
