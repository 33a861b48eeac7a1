"""Imports point down only: the graph of k42fs's modules has neither an upward edge nor a cycle.

The graph is read from the source with ast, so that an import inside a function counts as well: it hides a
cycle, it does not undo it. Imports under `if TYPE_CHECKING:` must not point up either, for a floor that
needs a higher one to be understood is no floor; but two neighbours may name each other's types, so they do
not count in cycles.
"""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import k42fs

# Lowest first; names on one line are one floor. A module directly in k42fs/ is vocabulary unless named here.
FLOORS = (
    ("vocabulary",),
    ("machine",),
    ("objects",),
    ("servers",),
    ("personality",),
    ("workloads", "report"),
    ("cli", "__main__"),  # python -m k42fs is the command
)
HEIGHT = {folder: height for height, folders in enumerate(FLOORS) for folder in folders}

# What only some floors may import from outside.
ONLY_IN = {
    "pyfuse3": {"personality"},
    "trio": {"personality", "workloads", "report", "cli"},
}

Graph = Mapping[str, set[str]]


def sources(root: Path, package: str) -> dict[str, str]:
    """Return the source text of each module under *root*, by dotted name."""
    found = {}
    for suffix in ("py", "pyx"):
        for path in sorted(root.rglob(f"*.{suffix}")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts)))
            # Only the import lines of a Cython module are Python that ast can read.
            text = path.read_text()
            found[name] = text if suffix == "py" else import_lines(text)
    return found


def import_lines(text: str) -> str:
    lines = (line.strip() for line in text.splitlines() if " cimport " not in line and "(" not in line)
    return "\n".join(line for line in lines if line.startswith(("import ", "from ")))


def tree(text: str, with_types: bool) -> ast.Module:
    """Parse *text*, without the bodies of `if TYPE_CHECKING:` unless *with_types*."""
    parsed = ast.parse(text)
    if not with_types:
        for node in ast.walk(parsed):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                node.body = []
    return parsed


def imported(module: str, is_package: bool, text: str, with_types: bool = True) -> Iterator[str]:
    """Yield each dotted name *module* imports; `from a import b` yields a.b, be b a module or a name in a."""
    for node in ast.walk(tree(text, with_types)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if is_package else module.split(".")[:-1]
                parents = package[: len(package) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def import_graph(modules: Mapping[str, str], with_types: bool = True) -> dict[str, set[str]]:
    """Return which of the modules given each one imports; a name that is no module stands for its parent."""
    packages = {name for name in modules if any(other.startswith(f"{name}.") for other in modules)}
    graph: dict[str, set[str]] = {}
    for module, text in modules.items():
        edges = set()
        for name in imported(module, module in packages, text, with_types):
            while name and name not in modules:
                name = name.rpartition(".")[0]
            if name and name != module:
                edges.add(name)
        graph[module] = edges
    return graph


def folder_of(module: str) -> str:
    """Return the floor's folder; a module with no folder of its own is vocabulary."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in HEIGHT else "vocabulary"


def upward_edges(graph: Graph) -> list[str]:
    return sorted(
        f"{module} imports {target}"
        for module, targets in graph.items()
        for target in targets
        if HEIGHT[folder_of(target)] > HEIGHT[folder_of(module)]
    )


def a_cycle(graph: Graph) -> list[str]:
    """Return the modules of one cycle in order, or nothing. Depth first: a module on the path closes one."""
    done: set[str] = set()
    path: list[str] = []

    def visit(module: str) -> list[str]:
        if module in path:
            return path[path.index(module) :]
        if module in done:
            return []
        path.append(module)
        for target in sorted(graph[module]):
            if cycle := visit(target):
                return cycle
        path.pop()
        done.add(module)
        return []

    return next((cycle for module in sorted(graph) if (cycle := visit(module))), [])


def foreign_imports(modules: Mapping[str, str]) -> list[str]:
    """Return the imports of outside packages on floors that must not know them."""
    return sorted(
        f"{module} imports {name}"
        for module, text in modules.items()
        for name in {each.partition(".")[0] for each in imported(module, False, text)}
        if name in ONLY_IN and folder_of(module) not in ONLY_IN[name]
    )


@pytest.fixture(scope="module")
def modules() -> dict[str, str]:
    assert k42fs.__file__ is not None
    return sources(Path(k42fs.__file__).parent, "k42fs")


def test_every_folder_is_on_a_floor(modules: dict[str, str]) -> None:
    folders = {name.split(".")[1] for name in modules if name.count(".") >= 2}
    assert folders <= HEIGHT.keys()


def test_no_module_imports_from_a_higher_floor(modules: dict[str, str]) -> None:
    assert upward_edges(import_graph(modules)) == []


def test_no_modules_import_each_other_in_a_circle(modules: dict[str, str]) -> None:
    assert a_cycle(import_graph(modules, with_types=False)) == []


def test_only_the_floors_at_the_edge_know_pyfuse3_and_trio(modules: dict[str, str]) -> None:
    assert foreign_imports(modules) == []


def test_no_module_imports_the_package_root(modules: dict[str, str]) -> None:
    graph = import_graph(modules)
    assert [module for module, targets in graph.items() if "k42fs" in targets] == []


PLANTED = {
    "k42fs": "",
    "k42fs.errors": "import errno",
    "k42fs.machine": "from k42fs.machine.memory import Memory",
    "k42fs.machine.memory": "from k42fs.errors import K42Error",
    "k42fs.machine.core": "from k42fs.machine.memory import Memory",
    "k42fs.servers": "",
    "k42fs.servers.ramfs": "",
    "k42fs.servers.ramfs.inode": "import k42fs.machine.core",
}


def test_a_clean_graph_passes() -> None:
    graph = import_graph(PLANTED)
    assert graph["k42fs.servers.ramfs.inode"] == {"k42fs.machine.core"}
    assert (upward_edges(graph), a_cycle(graph), foreign_imports(PLANTED)) == ([], [], [])


@pytest.mark.parametrize(
    "planted",
    [
        "from k42fs.servers.ramfs import inode",
        "import k42fs.servers.ramfs.inode",
        "from ..servers.ramfs.inode import Inode",
        "def late() -> None:\n    from k42fs.servers.ramfs.inode import Inode",
        "if TYPE_CHECKING:\n    from k42fs.servers.ramfs.inode import Inode",
    ],
)
def test_a_planted_upward_edge_is_found(planted: str) -> None:
    graph = import_graph(PLANTED | {"k42fs.machine.memory": planted})
    assert upward_edges(graph) == ["k42fs.machine.memory imports k42fs.servers.ramfs.inode"]


@pytest.mark.parametrize(
    "planted", ["from k42fs.machine.core import Core", "from . import core", "from .core import X"]
)
def test_a_planted_cycle_is_found(planted: str) -> None:
    graph = import_graph(PLANTED | {"k42fs.machine.memory": planted})
    assert set(a_cycle(graph)) == {"k42fs.machine.core", "k42fs.machine.memory"}


def test_neighbours_may_name_each_others_types() -> None:
    planted = "if TYPE_CHECKING:\n    from k42fs.machine.core import Core"
    graph = import_graph(PLANTED | {"k42fs.machine.memory": planted}, with_types=False)
    assert a_cycle(graph) == []


def test_a_module_that_imports_its_own_package_closes_a_cycle() -> None:
    graph = import_graph(PLANTED | {"k42fs.machine.memory": "from k42fs.machine import Memory"})
    assert set(a_cycle(graph)) == {"k42fs.machine", "k42fs.machine.memory"}


def test_a_planted_import_of_pyfuse3_or_trio_is_found() -> None:
    planted = PLANTED | {"k42fs.servers.ramfs.inode": "import pyfuse3\nfrom trio.lowlevel import checkpoint"}
    assert foreign_imports(planted) == [
        "k42fs.servers.ramfs.inode imports pyfuse3",
        "k42fs.servers.ramfs.inode imports trio",
    ]
