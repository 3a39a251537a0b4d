"""A pytest plugin: `pytest -p keras_suite.plugin --swap custom_layers --pyargs keras.src....`."""

import fnmatch
import importlib
import json
import pathlib
import sys
import types

import pytest

LEFT_OUT = pathlib.Path(__file__).with_name("left_out.txt")


def pytest_addoption(parser):
    group = parser.getgroup("keras_suite")
    group.addoption(
        "--swap",
        action="append",
        default=[],
        metavar="MODULE[:CLASS]",
        help="`custom_layers` for all twins it exports, or one class; the last one wins",
    )
    group.addoption("--report", metavar="FILE", help="where to write what came of each test")


def pytest_configure(config):
    config.pluginmanager.register(Plugin(config.getoption("--swap"), config.getoption("--report")))


def twins(names):
    """{class of Keras: replacement} for the values of --swap."""
    import keras

    from custom_layers.convert import twins

    table = {}
    for name in names:
        module, _, cls = name.partition(":")
        if not cls:
            table.update(twins())
        else:
            space = keras.layers if hasattr(keras.layers, cls) else keras.regularizers
            table[getattr(space, cls)] = getattr(importlib.import_module(module), cls)
    return table


def left_out():
    """(class, pattern of tests, reason) for each line of the table."""
    for line in LEFT_OUT.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            cls, pattern, reason = line.split(maxsplit=2)
            yield cls, pattern, reason


def name_of(item):
    """dense_test::DenseTest::test_dense_basics"""
    module = item.module.__name__.rpartition(".")[2]
    return "::".join([module, *([item.cls.__name__] if item.cls else []), item.name])


class Plugin:
    def __init__(self, names, report):
        import keras

        from keras_suite.swap import Swap

        # Keras's tests import this from a file that its wheel does not have.
        sys.modules["conftest"] = types.ModuleType("conftest")
        sys.modules["conftest"].skip_if_backend = lambda backend, reason: pytest.mark.skipif(
            keras.backend.backend() == backend, reason=reason
        )
        self.path = report
        self.outcomes = {}
        self.swap = Swap(twins(names)) if names else None

    @pytest.hookimpl(hookwrapper=True)
    def pytest_pycollect_makemodule(self):
        """Swap also what a test module imported by name."""
        collector = (yield).get_result()
        get = collector._getobj

        def get_and_rebind():
            module = get()
            if self.swap:
                self.swap.rebind(module)
            return module

        collector._getobj = get_and_rebind

    def pytest_collection_modifyitems(self, items):
        swapped = {cls.__name__ for cls in self.swap.table} if self.swap else set()
        table = [(pattern, reason) for cls, pattern, reason in left_out() if cls in swapped]
        for item in items:
            if item.get_closest_marker("multi_device"):
                item.add_marker(pytest.mark.skip(reason="needs several devices"))
            for pattern, reason in table:
                if fnmatch.fnmatchcase(name_of(item), pattern):
                    # strict: a test that passes after all does not belong in the table
                    item.add_marker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item):
        report = (yield).get_result()
        name = name_of(item)
        if report.when == "call" or report.failed or report.skipped:
            outcome = "left out" if hasattr(report, "wasxfail") else report.outcome
            if self.outcomes.get(name, ["passed"])[0] == "passed":
                self.outcomes[name] = [outcome, report.longreprtext.strip()[-600:]]

    def pytest_collectreport(self, report):
        if report.failed:
            self.outcomes[report.nodeid] = ["failed", report.longreprtext.strip()[-600:]]

    def pytest_sessionfinish(self):
        if self.path:
            built = self.swap.report() if self.swap else {}
            result = {"tests": self.outcomes, "built": built}
            pathlib.Path(self.path).write_text(json.dumps(result, indent=1), encoding="utf-8")
