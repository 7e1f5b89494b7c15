"""``python -m skinmnist.lessons``: run the lessons, write their gallery, and mark the exam."""

from __future__ import annotations

import argparse
from pathlib import Path

from skinmnist.console.common import FAILED_CELLS, command_parser, guarded, say

DEFAULT_OUT = Path("runs") / "lessons"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments."""
    parser = command_parser(
        "lessons",
        "Run the lessons on class imbalance and write a gallery of pages, notebooks and slides. "
        "They use the table in $SKINMNIST_DATA or data/, else synthetic pictures.",
        ("--list", "2 3 --out gallery", "--exam answers.toml"),
    )
    add = parser.add_argument
    add("numbers", metavar="NUMBER", type=int, nargs="*", help="lessons to run (default: all)")
    add("--list", action="store_true", help="print the lessons and their questions without running them")
    add("--out", metavar="DIR", type=Path, default=DEFAULT_OUT, help=f"the gallery (default: {DEFAULT_OUT})")
    add("--jobs", metavar="N", type=int, help="lessons at a time (default: the cores)")
    add("--seed", metavar="N", type=int, default=0, help="seed of the synthetic pictures (default: 0)")
    add(
        "--table",
        action="store_true",
        help="print the lessons and their findings as the table of docs/lessons.md",
    )
    add(
        "--exam",
        metavar="FILE",
        type=Path,
        help="mark the answers in FILE; if it does not exist, write a blank sheet",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = build_parser().parse_args(arguments)
    if options.exam is not None:
        return guarded(lambda: _examine(options.exam))
    return guarded(lambda: _teach(options))


def _teach(options: argparse.Namespace) -> int:
    from skinmnist.errors import InputError
    from skinmnist.teaching.lesson import find_lessons

    lessons = find_lessons(numbers=options.numbers)
    if options.list:
        for lesson in lessons:
            say(f"{lesson.number:2}. {lesson.title}: {lesson.question}")
        return 0
    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"received {options.jobs} jobs; expected at least 1")
    if not 0 <= options.seed < 2**31:
        raise InputError(f"received seed {options.seed}; expected a whole number from 0 to {2**31 - 1}")

    from skinmnist.experiment.execution.machine import available_cores
    from skinmnist.reporting.format import count
    from skinmnist.teaching.exam import QUESTIONS
    from skinmnist.teaching.gallery import check_gallery, lesson_table, write_gallery
    from skinmnist.teaching.lesson import run_lessons
    from skinmnist.teaching.notebook_api import find_whole_table

    # Report an invalid table once, before a folder is made or anything runs.
    find_whole_table()
    check_gallery(options.out, lessons)
    runs = []
    for run in run_lessons(lessons, options.jobs or available_cores(), options.seed):
        runs.append(run)
        what = run.failure or f"{run.seconds:.1f} s, {count(len(run.claims), 'claim')} held"
        say(f"{run.lesson.number:2}. {run.lesson.title}: {what}")
    runs.sort(key=lambda run: run.lesson.number)
    gallery = write_gallery(runs, QUESTIONS, options.out)
    if options.table:
        print(lesson_table(runs), end="")
    say(gallery)
    return FAILED_CELLS if any(run.failure for run in runs) else 0


def _examine(path: Path) -> int:
    from skinmnist.datasets.files import write_atomically
    from skinmnist.teaching.exam import QUESTIONS, blank_sheet, exam_table, mark, read_sheet

    if not path.exists():
        write_atomically(path, blank_sheet(QUESTIONS).encode())
        say(f"{path} is a blank sheet; fill it in and run the same command again")
        return 0
    marks = mark(read_sheet(path, QUESTIONS), QUESTIONS, exam_table())
    for one in marks:
        print(f"{one.question.number:2}. {'right' if one.correct else f'not yet. {one.remark}'}")
    correct = sum(one.correct for one in marks)
    print(f"{correct} of {len(marks)}")
    return 0 if correct == len(marks) else FAILED_CELLS


if __name__ == "__main__":
    raise SystemExit(main())
