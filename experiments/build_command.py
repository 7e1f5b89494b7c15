"""The build command of setuptools, named in pyproject.toml: the content of wheels and source distributions.

The wheel gets copies of the lessons and presets in ``experiments/``. A mapping of package directories would
take everything in that folder, and a list of all packages.
"""

from pathlib import Path

from setuptools.command.build_py import build_py

#: Where `skinmnist.datasets.files.shipped` looks for them.
TARGET = Path("skinmnist", "_experiments")
SHIPPED = ("*.toml", "lessons/*.py", "lessons/*.md")
#: What a source distribution contains besides the package and the files that setuptools adds.
SOURCES = ("constraints.txt", "SECURITY.md", "data/README.md", "docs/**/*", "experiments/**/*", "tests/**/*")
IGNORED = (".pyc", ".pyo", ".DS_Store")


class BuildWithExperiments(build_py):
    """Builds the package, with copies of what its commands read from ``experiments/``."""

    def run(self) -> None:
        """Build; in an editable install, commands read the originals."""
        super().run()
        if not self.editable_mode:
            for target, source in self._copies().items():
                self.mkpath(str(Path(target).parent))
                self.copy_file(source, target)

    def get_source_files(self) -> list[str]:
        """Return the files of a source distribution."""
        more = (path for pattern in SOURCES for path in sorted(Path().glob(pattern)) if path.is_file())
        return [*super().get_source_files(), *(str(path) for path in more if not path.name.endswith(IGNORED))]

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return the files that are built."""
        return [*super().get_outputs(include_bytecode), *self._copies()]

    def get_output_mapping(self) -> dict[str, str]:
        """Return the source of each file, for strict editable installs."""
        return super().get_output_mapping() | self._copies()

    def _copies(self) -> dict[str, str]:
        folder = Path("experiments")
        sources = [path for pattern in SHIPPED for path in sorted(folder.glob(pattern))]
        return {
            str(Path(self.build_lib) / TARGET / source.relative_to(folder)): str(source) for source in sources
        }
