"""stdlib_source: modules of Python's standard library as text for a language model."""

import pathlib
import sys
import sysconfig

import tensorflow_datasets as tfds

MODULES = {
    "train": "argparse ast bdb calendar cmd codecs configparser contextlib copy csv dataclasses "
    "difflib dis doctest enum fractions ftplib functools gettext heapq imaplib inspect "
    "ipaddress locale mailbox optparse pdb pickle platform random tarfile",
    "validation": "shutil statistics textwrap",
    "test": "queue tempfile zipapp",
}
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


class Builder(tfds.core.GeneratorBasedBuilder):
    """Its name, `stdlib_source`, is that of the folder; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "37 modules, from the source files of this Python."}  # noqa: RUF012
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name=PYTHON, description=f"The library of {PYTHON}.")
    ]

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({"text": tfds.features.Text()}),
            supervised_keys=None,
            homepage="https://docs.python.org/3/library/",
        )

    def _split_generators(self, dl_manager):
        return {part: self._generate_examples(names) for part, names in MODULES.items()}

    def _generate_examples(self, names):
        library = pathlib.Path(sysconfig.get_path("stdlib"))
        texts = [(library / f"{name}.py").read_text(encoding="utf-8") for name in names.split()]
        yield 0, {"text": "".join(texts).encode("ascii", "replace").decode("ascii")}
