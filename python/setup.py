"""Builds wheels and sdists with the program weft in them; what else there is to say is in pyproject.toml."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent
PACKED = HERE / "go"  # Go's sources, in an sdist
SOURCES = PACKED if PACKED.is_dir() else HERE.parent
NEED = "to build the program weft: Go 1.26 or newer (https://go.dev/dl), or a program that is built already, named in WEFT_BINARY. Wheels have it."

# Files that the program is compiled from, a line each, relative to the module.
LIST = (
    "{{if .Module}}{{if .Module.Main}}{{$d := .Dir}}{{range .GoFiles}}{{$d}}/{{.}}\n{{end}}{{range .IgnoredGoFiles}}{{$d}}/{{.}}\n{{end}}"
    "{{range .SFiles}}{{$d}}/{{.}}\n{{end}}{{range .EmbedFiles}}{{$d}}/{{.}}\n{{end}}{{end}}{{end}}"
)


def go(*arguments: str) -> str:
    """Runs go in the sources and returns what it prints."""
    try:
        environ = {**os.environ, "CGO_ENABLED": "0"}
        return subprocess.run(["go", *arguments], cwd=SOURCES, env=environ, check=True, stdout=subprocess.PIPE, text=True).stdout
    except FileNotFoundError:
        raise SystemExit(f"there is no go here. It takes {NEED}") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"go {arguments[0]} failed (above). It takes {NEED}") from error


class WithProgram(build_py):
    """Puts the program into the package, but not when that is only linked to: then it is the repository's."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, "weft", "_bin", "weft").absolute()
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.environ.get("WEFT_BINARY"):
            shutil.copy(os.environ["WEFT_BINARY"], target)
            return
        if not (SOURCES / "cmd" / "weft").is_dir():
            raise SystemExit(f"there are no Go sources in {SOURCES}; build from a clone of the repository or from an sdist")
        flags = f"-s -w -X main.version={os.environ.get('WEFT_VERSION') or self.distribution.get_version()}"
        go("build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", str(target), "./cmd/weft")


class WithCompiled(Distribution):
    """Has something that is compiled, though no extension of Python's."""

    def has_ext_modules(self) -> bool:
        return True


class Platform(bdist_wheel):
    """Any Python 3, one kind of machine."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


class WithSources(sdist):
    """Takes along what the program is compiled from."""

    def make_release_tree(self, base_dir: str, files: list) -> None:
        super().make_release_tree(base_dir, files)
        for name in {*go("list", "-deps", "-f", LIST, "./cmd/weft").split("\n"), "go.mod", "go.sum"} - {""}:
            source = SOURCES / name
            target = Path(base_dir, "go") / source.relative_to(SOURCES)
            if not target.name.endswith("_test.go"):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)


# Not in this folder, where an older build's modules would be taken for this one's.
BUILD = tempfile.TemporaryDirectory(prefix="weft-build-")

setup(
    distclass=WithCompiled,
    cmdclass={"build_py": WithProgram, "bdist_wheel": Platform, "sdist": WithSources},
    options={"build": {"build_base": BUILD.name}},
)
