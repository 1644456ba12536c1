"""Mutation testing: do the tests notice when a statistic, the drift gate or the image contract is broken on purpose?

Changes one operator, constant, comparison or call at a time in a copy of the repository, runs the tests of the changed
module, and prints the share of changes that a test caught. It lists the others: each is either equivalent to the
original code or needs a test.

    python -m experiments.mutants --mutants 100
    python -m experiments.mutants metrics gate --seed 7
"""

from __future__ import annotations

import ast
import copy
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from spot_bench.stats.intervals import wilson

REPOSITORY = Path(__file__).resolve().parents[1]
NEEDED = ("pyproject.toml", "edge_runtime", "benchmarks", "train", "convert", "tests", "examples", "models")
SOURCES = ("edge_runtime", "benchmarks", "train", "convert")
MEMORY = 16 << 30  # bytes that a mutant's tests may reserve

# Each module and the tests that should notice a change of it, quick ones first.
MODULES = {
    "metrics": ("benchmarks/spot_bench/stats/metrics.py", "benchmarks/test_metrics benchmarks/test_against_references"),
    "intervals": (
        "benchmarks/spot_bench/stats/intervals.py",
        "benchmarks/test_mcnemar benchmarks/test_against_references benchmarks/test_intervals",
    ),
    "calibration": ("benchmarks/spot_bench/stats/calibration.py", "benchmarks/test_calibration"),
    "conformal": ("benchmarks/spot_bench/stats/conformal.py", "benchmarks/test_conformal"),
    "percentiles": ("benchmarks/spot_bench/stats/percentiles.py", "benchmarks/test_percentiles"),
    "gate": ("benchmarks/spot_bench/drift/gate.py", "benchmarks/test_gate benchmarks/test_gate_verdicts"),
    "tensor": (
        "edge_runtime/spot_edge/image/tensor.py",
        "edge_runtime/test_image_geometry edge_runtime/test_image_pixels edge_runtime/test_image_refused",
    ),
    "formats": (
        "edge_runtime/spot_edge/image/formats.py",
        "edge_runtime/test_image_formats edge_runtime/test_image_pixels edge_runtime/test_image_refused",
    ),
    "color": (
        "edge_runtime/spot_edge/image/color.py",
        "edge_runtime/test_image_pixels edge_runtime/test_image_refused",
    ),
    "limits": (
        "edge_runtime/spot_edge/image/limits.py",
        "edge_runtime/test_image_refused edge_runtime/test_image_formats edge_runtime/test_image_bombs",
    ),
    "structure": (
        "edge_runtime/spot_edge/image/structure.py",
        "edge_runtime/test_image_metadata edge_runtime/test_image_damage edge_runtime/test_image_bombs",
    ),
    "source": ("edge_runtime/spot_edge/image/source.py", "edge_runtime/test_source edge_runtime/test_image_refused"),
}

OPERATORS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.RShift: (ast.LShift,),
    ast.LShift: (ast.RShift,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}
_PAIRS = [
    ("min", "max"),
    ("any", "all"),
    ("ceil", "floor"),
    ("argmin", "argmax"),
    ("minimum", "maximum"),
    ("sum", "mean"),
]
NAMES = dict(_PAIRS) | {other: one for one, other in _PAIRS}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one module."""

    module: str
    line: int
    before: str
    after: str
    source: str


def mutants_of(module: str, source: str) -> list[Mutant]:
    """Every change of a module that this study can make."""
    found = []
    for number, node in enumerate(_code(ast.parse(source))):
        for changed in _changes(node):
            tree = ast.parse(source)
            target = list(_code(tree))[number]
            _replace(tree, target, changed)
            line = getattr(node, "lineno", 0)
            found.append(Mutant(module, line, ast.unparse(node), ast.unparse(changed), ast.unparse(tree)))
    return found


def _code(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes that run, so no annotations, decorators or code for type checkers."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for name, value in ast.iter_fields(node):
            children = value if isinstance(value, list) else [value]
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for child in children:
                typing_only = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
                strict_zip = isinstance(child, ast.keyword) and child.arg == "strict"  # changes no result
                if isinstance(child, ast.AST) and not typing_only and not strict_zip:
                    waiting.append(child)


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.BinOp() | ast.BoolOp() | ast.AugAssign():
            for other in OPERATORS.get(type(node.op), ()):
                yield _with(node, op=other())
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                for other in OPERATORS.get(type(operator), ()):
                    yield _with(node, ops=[*node.ops[:place], other(), *node.ops[place + 1 :]])
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            yield node.operand
        case ast.IfExp():
            yield _with(node, body=node.orelse, orelse=node.body)
        case ast.If() | ast.While():
            yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(value=float() as value):
            yield ast.Constant(value * 1.25 if value else 0.25)
        case ast.Constant(value="left" | "right" as side):
            yield ast.Constant("right" if side == "left" else "left")
        case ast.Name(id=name) if name in NAMES:
            yield _with(node, id=NAMES[name])
        case ast.Attribute(attr=name) if name in NAMES:
            yield _with(node, attr=NAMES[name])


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _replace(tree: ast.AST, target: ast.AST, changed: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, name, changed)
            elif isinstance(value, list):
                value[:] = [changed if child is target else child for child in value]


def run_tests(root: Path, tests: str, limit: float | None) -> bool:
    """Whether these tests pass in the copy at `root`. They fail if they take too long or run out of memory."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(str(root / name) for name in SOURCES),
        "PYTHONDONTWRITEBYTECODE": "1",  # a stale cache would hide a change that keeps a file's size and second
    }
    files = [f"tests/{name}.py" for name in tests.split()]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-cov", "-p", "no:cacheprovider", *files]
    try:
        done = subprocess.run(
            command,
            cwd=root,
            env=environment,
            timeout=limit,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


@click.command()
@click.argument("modules", nargs=-1, type=click.Choice(list(MODULES)))
@click.option(
    "--mutants", "count", type=click.IntRange(1), default=60, show_default=True, help="How many changes to try."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the random sample.")
def main(modules: Sequence[str], count: int, seed: int) -> None:
    """Change MODULES (default: all) on purpose and print the share of changes that their tests catch."""
    chosen = modules or tuple(MODULES)
    known = [
        mutant for name in chosen for mutant in mutants_of(name, (REPOSITORY / MODULES[name][0]).read_text("utf-8"))
    ]
    sample = random.Random(seed).sample(known, min(count, len(known)))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _copy_repository(root)
        limits = {}
        for name in sorted({mutant.module for mutant in sample}):
            start = time.monotonic()
            if not run_tests(root, MODULES[name][1], None):
                raise click.ClickException(f"the tests of {name} fail without a change: {MODULES[name][1]}")
            limits[name] = 30 + 10 * (time.monotonic() - start)
        survivors = []
        for number, mutant in enumerate(sample, 1):
            path = root / MODULES[mutant.module][0]
            original = path.read_bytes()
            path.write_text(mutant.source, "utf-8")
            survived = run_tests(root, MODULES[mutant.module][1], limits[mutant.module])
            path.write_bytes(original)
            if survived:
                survivors.append(mutant)
            click.echo(f"{number}/{len(sample)} {'SURVIVED' if survived else 'caught'} {_described(mutant)}", err=True)
    for mutant in survivors:
        click.echo(f"survived: {_described(mutant)}")
    for name in chosen:
        own = [mutant for mutant in sample if mutant.module == name]
        if own:
            _report(name, len(own), sum(mutant.module == name for mutant in survivors))
    _report("all", len(sample), len(survivors))


def _copy_repository(root: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in NEEDED:
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, root / name, ignore=ignored)
        else:
            shutil.copy(REPOSITORY / name, root / name)


def _described(mutant: Mutant) -> str:
    before, after = (" ".join(text.split("\n")[0].split()) for text in (mutant.before, mutant.after))
    return f"{MODULES[mutant.module][0]}:{mutant.line}: {before}  ->  {after}"


def _report(name: str, tried: int, survived: int) -> None:
    caught = tried - survived
    low, high = wilson(caught, tried)
    share, reach = f"{100 * caught / tried:.0f} %", f"{100 * low:.0f} to {100 * high:.0f} %"
    click.echo(f"{name}: {caught} of {tried} changes caught ({share}, 95 % interval {reach})")


if __name__ == "__main__":
    main()
