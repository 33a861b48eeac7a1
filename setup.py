"""Build the compiled parts; everything else about the package is in pyproject.toml.

Where they cannot be built (no C compiler, no Python headers) the package installs without them and runs on
what is written in Python: see k42fs/machine/cores.py. A source archive holds the generated C, so that Cython
is needed only to build from the repository.
"""

import os
from pathlib import Path

from setuptools import Extension, setup

# Paths are relative to here, as setuptools wants them.
os.chdir(Path(__file__).parent)


def extensions() -> list[Extension]:
    """Return the compiled modules: from Cython if that is there, else from the C in the source archive."""
    try:
        from Cython.Build import cythonize
    except ImportError:
        return [extension(source) for source in sorted(Path("k42fs").rglob("*.c"))]
    sources = [extension(source) for source in sorted(Path("k42fs").rglob("*.pyx"))]
    modules: list[Extension] = cythonize(sources, quiet=True)
    for module in modules:
        module.optional = True  # cythonize forgets it
    return modules


def extension(source: Path) -> Extension:
    name = ".".join(source.with_suffix("").parts)
    return Extension(name, [str(source)], optional=True, extra_compile_args=["-O3", "-fwrapv"])


setup(ext_modules=extensions())
