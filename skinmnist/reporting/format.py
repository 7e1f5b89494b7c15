"""How samplers, models and numbers are written in tables, figures and sentences."""

from __future__ import annotations

import math

from skinmnist.analysis.prior_correction import PRIOR_CORRECTION
from skinmnist.experiment.run_folder.run_info import RunInfo
from skinmnist.resampling.registry import STRATEGIES
from skinmnist.text import printable

CONTROL_TITLE = "prior correction"

_LONGEST_TITLE = 500
#: What stands where there is no number.
NOTHING = "–"
MINUS = "−"


def sampler_title(info: RunInfo, sampler: str, model: str) -> str:
    """Name a sampler with what it worked on: ``"SMOTE on pixels"``; remedies touch no row and stand alone."""
    if sampler == PRIOR_CORRECTION:
        return CONTROL_TITLE
    return space_title(sampler, sampler_space(info, model))


def sampler_space(info: RunInfo, model: str) -> str:
    """Return what a sampler works on before `model`, in words; empty where the record does not say."""
    known = info.grid.models.get(model)
    return known.space if known else ""


def space_title(sampler: str, space: str) -> str:
    """Join a sampler with the space it worked on."""
    title = sampler if sampler in STRATEGIES or not space else f"{sampler} on {space}"
    return printable(title, _LONGEST_TITLE)


def model_title(info: RunInfo, model: str) -> str:
    """Return the title under which a model appears."""
    known = info.grid.models.get(model)
    return printable(known.title if known else model, _LONGEST_TITLE)


def base_model(info: RunInfo, model: str) -> str:
    """Return the model to whose answers clinical columns were added; empty for one that is trained itself."""
    known = info.grid.models.get(model)
    return known.base if known else ""


def clinical_columns(info: RunInfo) -> list[str]:
    """Return the clinical columns that any model of a run has used."""
    return list(dict.fromkeys(column for model in info.grid.models.values() for column in model.clinical))


def added_columns(info: RunInfo) -> str:
    """Name what is added to a model's answers, in words that are true of every model of a run.

    A folder may have been extended with other columns than those it began with.
    """
    sets = {model.clinical for model in info.grid.models.values() if model.clinical}
    return listing(clinical_columns(info)) if len(sets) < 2 else "the clinical columns in its title"


def fixed(value: float, digits: int = 3) -> str:
    """Write a score: ``0.612``, with a true minus sign, or a dash where it is absent."""
    if math.isnan(value):
        return NOTHING
    text = f"{abs(value):.{digits}f}"
    return (MINUS if value < 0 and float(text) else "") + text


def signed(value: float, digits: int = 3) -> str:
    """Write a difference with its sign: ``+0.022``."""
    return ("+" if round(value, digits) > 0 else "") + fixed(value, digits)


def with_spread(mean: float, spread: float) -> str:
    """Write a mean and a standard deviation: ``0.612 ± 0.014``; the mean alone where there is no spread."""
    if math.isnan(mean) or math.isnan(spread):
        return fixed(mean)
    return f"{fixed(mean)} ± {fixed(spread)}"


def unbroken(text: str) -> str:
    """Keep a mean and its spread on one line, and a number and its per cent sign."""
    return text.replace(" ± ", "\u00a0±\u00a0").replace(" %", "\u00a0%")


def count(number: float, noun: str, plural: str | None = None) -> str:
    """Write a counted noun: ``1 fold``, ``7,470 lesions``."""
    return f"{number:,.0f} {noun if number == 1 else plural or noun + 's'}"


def percent(share: float) -> str:
    """Write a share: ``66.9 %``."""
    return f"{100 * share:.1f} %"


def duration(seconds: float) -> str:
    """Write a time as one would say it: ``8 min 32 s``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def shorten(text: str, limit: int) -> str:
    """Cut a name that would not fit, and spell out what cannot be printed."""
    text = printable(text)
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def listing(names: list[str]) -> str:
    """Join names as a sentence does: ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
