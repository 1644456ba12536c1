"""What runs in other environments, such as those of tflite-runtime or a Raspberry Pi, needs numpy, Pillow and click."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import importlib, pkgutil, sys
from pathlib import Path

ALLOWED = {*sys.stdlib_module_names, "numpy", "PIL", "click", "spot_edge", "spot_bench"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
import spot_bench

WORKSTATION = ("spot_bench.drift.page", "spot_bench.report")  # pages: Jinja2 and matplotlib
names = [module.name for module in pkgutil.walk_packages(spot_bench.__path__, "spot_bench.")]
for name in names:
    if not name.startswith(WORKSTATION) or name == "spot_bench.report.tables":
        importlib.import_module(name)

from spot_bench.commands.bench import bench
from spot_bench.data.manifest import read_manifest, write_manifest

folder = Path(sys.argv[1])
bench.main(["draw", "shapes", str(folder / "shapes"), "--count", "2"], standalone_mode=False)
manifest = read_manifest(folder / "shapes")
write_manifest(manifest, folder / "data.csv")
assert read_manifest(folder / "data.csv").labels == manifest.labels == ("circle", "square", "triangle")
try:
    import jinja2
except ModuleNotFoundError:
    print(len(names), "modules")
"""


def test_bench_imports_with_numpy_pillow_and_click(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(" modules")  # and a refused package is not imported
