"""The benchmark of what is new to a model: its first step, and the first of another shape.

A step that sees a shape for the first time is traced by Keras and compiled by TensorFlow, and what
was compiled stays in memory. A process has but one first step, so each side has a new process every
time. It is forked from one that has imported everything, and so starts with a step at once.
"""

import importlib
import multiprocessing
import resource

from scripts.benchmark.layers import by
from scripts.benchmark.models import clock, compiled, families
from scripts.benchmark.timing import Case

FIRST, NEW_SHAPE = "first", "new shape"
KIB = 1024  # the unit of `ru_maxrss` on Linux


def first_steps(layers, mode, name):
    """Seconds of the passes, and the bytes by which the process grew for the new shape.

    The model of that name first trains on its batch, then on half of it, as an epoch may end.
    layers: the name of the namespace.
    """
    family = next(family for family in families() if family.name == name)
    model = compiled(family.build, importlib.import_module(layers), family.loss, mode)
    seconds = []
    for batch in (family.batch, family.batch // 2):
        x, y = family.arrays(model, batch)
        # A GAN is fitted to images alone.
        data = (y,) if family.loss is None else (x, y)
        before = peak()
        seconds.append(clock(model.train_on_batch, *data))
    return *seconds, peak() - before


def peak():
    """The most bytes that this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB


def in_new_process(function, *arguments):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with context.Pool(1) as pool:
        return pool.apply(function, arguments)


def first_case(family):
    def timers(data, layers, mode):
        later = []

        def first():
            seconds, new, _ = in_new_process(first_steps, layers.__name__, mode, family.name)
            later.append(new)
            return seconds

        return {FIRST: first, NEW_SHAPE: lambda: later.pop(0)}

    def kept(data, layers):
        return in_new_process(first_steps, layers.__name__, "graph", family.name)[-1]

    size = " and ".join(by((family.batch, *shape)) for shape in family.shapes)
    return Case(family.name, size, timers, kept=kept, pairs=5, warm_up=0)


def every_first():
    return [first_case(family) for family in families()]
