"""What the door `build` shows while pictures are read and when its tables are written."""

from __future__ import annotations

from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from skinmnist.console.live import LiveBar, Output
from skinmnist.datasets.images.building import Built
from skinmnist.datasets.images.folders import Pictures

#: Where nobody watches a bar, a line for every tenth of the pictures.
_LINES = 10


class BuildTerminal(LiveBar):
    """A live bar on a terminal, plain lines elsewhere; the `Progress` of a build."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        )
        self._task = self._bar.add_task("pictures", total=None)
        self._total = self._told = 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        if kind is KeyboardInterrupt:
            self.console.print("Interrupted; what was read is kept. Type the same command again to go on.")

    def found(self, pictures: Pictures) -> None:
        """Say what there is, and what is left out."""
        self.console.print(f"{len(pictures):,} pictures of {len(pictures.class_names)} classes")
        if pictures.without_picture:
            self.console.print(
                f"left out: {pictures.without_picture:,} rows of the metadata without a picture"
            )
        if pictures.ignored:
            self.console.print(f"left out: {pictures.ignored:,} files whose names are no names of pictures")

    def started(self, total: int, stored: int) -> None:
        """Show how much there is to do."""
        self._total, self._told = total, stored
        if stored:
            self.console.print(f"{stored:,} of them read before")
        self._bar.update(self._task, total=total, completed=stored)

    def advanced(self, done: int) -> None:
        """Show how much is done."""
        self._bar.update(self._task, completed=done)
        if not self.console.is_terminal and (done - self._told) * _LINES >= self._total:
            self._told = done
            self.console.print(f"[{done}/{self._total}] pictures read")

    def conclude(self, built: Built, next_command: str) -> None:
        """Show what was written, what was left out, and what can be done with it."""
        out = Output(soft_wrap=True)
        for path, reason in built.bad:
            out.print(f"skipped: {path}: {reason}")
        counts = ", ".join(f"{name} {count:,}" for name, count in built.rows_per_class.items())
        rows = sum(built.rows_per_class.values())
        for target in built.targets:
            height, width, channels = target.shape
            out.print(f"{target.path}: {rows:,} pictures, {height} x {width} x {channels}")
        out.print(counts)
        out.print(f"compare on it: {next_command}")
