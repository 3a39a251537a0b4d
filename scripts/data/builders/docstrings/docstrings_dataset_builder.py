"""docstrings: texts of Python's standard library and the chapter that each belongs to."""

import ast
import hashlib
import pathlib
import sys
import sysconfig

import tensorflow_datasets as tfds

CHAPTERS = {
    "concurrency": "_threading_local asyncio concurrent multiprocessing queue sched selectors "
    "signal subprocess threading",
    "data formats": "base64 configparser csv email html json mailbox mimetypes netrc plistlib "
    "quopri tomllib xml",
    "development": "_pyrepl bdb cmd code codeop cProfile doctest faulthandler pdb profile pstats "
    "pydoc timeit trace tracemalloc unittest venv",
    "files": "_pyio bz2 dbm filecmp fileinput fnmatch genericpath glob gzip io lzma ntpath os "
    "pathlib pickle posixpath shelve shutil stat tarfile tempfile zipfile",
    "graphics": "colorsys curses tkinter turtle turtledemo",
    "internet": "ftplib http imaplib ipaddress poplib smtplib socket socketserver ssl urllib uuid "
    "webbrowser wsgiref xmlrpc",
    "language": "abc annotationlib ast contextlib dataclasses dis enum functools importlib inspect "
    "keyword modulefinder operator pkgutil pyclbr runpy site symtable sysconfig token tokenize "
    "traceback types typing warnings weakref zipimport",
    "numbers and dates": "_collections_abc _pydatetime _pydecimal _strptime bisect calendar "
    "collections datetime decimal fractions heapq numbers random statistics zoneinfo",
    "text": "argparse codecs difflib encodings getopt gettext locale logging optparse pprint re "
    "reprlib shlex string stringprep textwrap",
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


def docstrings(library):
    """`{text: (where it first occurs, chapter)}` of the modules below the folder `library`."""
    chapters = {module: name for name, modules in CHAPTERS.items() for module in modules.split()}
    found = {}
    for path in sorted(library.rglob("*.py")):
        parts = path.relative_to(library).with_suffix("").parts
        if parts[0] not in chapters or {"test", "tests"} & set(parts):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None
            if text and len(text.split()) >= 5 and text not in found:
                name = [*parts, getattr(node, "name", None)]
                found[text] = ".".join(filter(None, name)), chapters[parts[0]]
    return found


def part(text):
    """train, validation or test: fixed by the text itself, so that no list has to be kept."""
    tenth = hashlib.sha256(text.encode()).digest()[0] * 10 // 256
    return {0: "test", 1: "test", 2: "validation"}.get(tenth, "train")


class Builder(tfds.core.GeneratorBasedBuilder):
    """Its name, `docstrings`, is that of the folder; its texts are beside this file."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "9 chapters, from the source files of this Python."}  # noqa: RUF012
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name=PYTHON, description=f"The library of {PYTHON}.")
    ]

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "text": tfds.features.Text(),
                    "label": tfds.features.ClassLabel(names=list(CHAPTERS)),
                    "name": tfds.features.Text(),
                }
            ),
            supervised_keys=("text", "label"),
            homepage="https://docs.python.org/3/library/",
        )

    def _split_generators(self, dl_manager):
        found = docstrings(pathlib.Path(sysconfig.get_path("stdlib")))
        return {
            split: self._generate_examples(found, split)
            for split in ("train", "validation", "test")
        }

    def _generate_examples(self, found, split):
        for text, (name, chapter) in found.items():
            if part(text) == split:
                key = hashlib.sha256(text.encode()).hexdigest()
                yield key, {"text": text, "label": chapter, "name": name}
