import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import sam_attribution

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "sam_attribution" / "review" / "assets"
BUILD = "from setuptools.build_meta import build_wheel; build_wheel('dist')"


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path):
    # built from a copy: setuptools leaves its work in the tree, and picks up what lies there
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("sam_attribution", "tests"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    subprocess.run([sys.executable, "-c", BUILD], cwd=tmp_path, check=True, capture_output=True)

    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert wheel.name.startswith(f"sam_attribution-{sam_attribution.__version__}-")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = ROOT / "sam_attribution"
    sources = [*package.rglob("*.py"), package / "py.typed", *PAGE.iterdir()]
    assert names == {path.relative_to(ROOT).as_posix() for path in sources}
