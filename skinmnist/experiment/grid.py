"""The grid of a comparison: samplers and models combined into cells."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import io
import pickletools
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from itertools import chain, count
from types import CodeType, ModuleType
from typing import Any
from warnings import catch_warnings

import cloudpickle

from skinmnist.datasets.cache import code_digest, take_imports
from skinmnist.errors import InputError
from skinmnist.experiment.cells import FUSED, Cell, sorted_models, sorted_samplers
from skinmnist.models.registry import MODELS
from skinmnist.models.spec import ModelSpec, Setting
from skinmnist.names import (
    Plugin,
    did_you_mean,
    find_plugins,
    installed_version,
    known_spelling,
    source_files,
    unknown_name,
)
from skinmnist.resampling.registry import (
    Resampler,
    check_sampler_name,
    make_sampler,
    seeded,
    with_class_codes,
)
from skinmnist.resampling.strategies import (
    CATEGORICAL,
    GROUPS,
    SAMPLERS,
    STRATEGIES,
    TUNED_PLAIN,
    alias_note,
    base_name,
    expand,
    lookup,
    spell,
)
from skinmnist.text import LONGEST_NAME, is_name, one_line, shown

DEFAULT_SAMPLERS = ("none", "RandomOverSampler", "SMOTE")

#: Names that this package defines, by kind.
_OWN = {"sampler": (*STRATEGIES, *SAMPLERS), "model": (*MODELS,)}
#: The id that cloudpickle draws for a class defined in a script or notebook.
_CLASS_ID = re.compile("[0-9a-f]{32}")


def resolve_models(models: Iterable[Any] | Mapping[str, Any]) -> dict[str, ModelSpec]:
    """Return the requested models by name; each may be given as a name, classifier or `ModelSpec`.

    Unnamed classifiers are named after their class; the second classifier of a class gets the suffix ``-2``.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> dummy = DummyClassifier()
    >>> list(resolve_models(["svm", dummy, dummy, make_pipeline(StandardScaler(), dummy)]))
    ['svm', 'DummyClassifier', 'DummyClassifier-2', 'Pipeline(DummyClassifier)']
    """
    return _resolve(models, "model", _as_model)


def resolve_samplers(
    samplers: Iterable[Any] | Mapping[str, Any], class_names: Sequence[str] = ()
) -> dict[str, Resampler]:
    """Return the requested samplers by name, like `resolve_models`.

    A ``sampling_strategy`` may contain class names; `class_names` must be in code order.

    Examples
    --------
    >>> from imblearn.over_sampling import SMOTE
    >>> list(resolve_samplers(["none", "smoteenn", SMOTE(k_neighbors=2)]))
    ['none', 'SMOTEENN', 'SMOTE']
    """
    names, notes = _expanded(samplers)
    found = _resolve(names, "sampler", partial(_as_sampler, class_names=class_names))
    return found | {name: replace(found[name], note=note) for name, note in notes.items()}


def _expanded(samplers: Any) -> tuple[Any, dict[str, str]]:
    """Replace groups, sweeps and aliases in a list of samplers; return the list, and notes by sampler.

    A sampler that is named and is also part of a group or sweep is kept once.
    """
    if isinstance(samplers, str):
        samplers = [samplers]
    if isinstance(samplers, Mapping) or not isinstance(samplers, Iterable):
        return samplers, {}
    expanded: list[Any] = []
    members: list[str] = []
    notes: dict[str, str] = {}
    for thing in samplers:
        names = [*expand(thing)] if isinstance(thing, str) else [thing]
        if names == [thing]:
            expanded.append(thing)
            continue
        members += names
        if note := alias_note(thing):
            notes[names[0]] = note
    named = {spell(thing) for thing in expanded if isinstance(thing, str)}
    return [*expanded, *(name for name in dict.fromkeys(members) if name not in named)], notes


def plan_cells(
    samplers: Mapping[str, Resampler],
    models: Mapping[str, ModelSpec],
    repeats: int,
    folds: int,
) -> tuple[list[Cell], list[str]]:
    """Combine all samplers with all models, in table order; ``tuned_plain`` needs no training.

    Returns the trained cells, and the output of `notes_on_omitted`.

    Examples
    --------
    >>> samplers, models = resolve_samplers(["none", "focal_loss"]), resolve_models(["svm"])
    >>> cells, notes = plan_cells(samplers, models, repeats=1, folds=2)
    >>> [str(cell) for cell in cells]
    ['none + svm, repeat 0, fold 0', 'none + svm, repeat 0, fold 1']
    >>> notes
    ['focal_loss with svm is not planned: svm cannot take it']
    """
    cells, omitted = [], {}
    for sampler in sorted_samplers(samplers):
        for model in sorted_models(models):
            reason = why_not(samplers[sampler], models[model])
            if reason:
                omitted[sampler, model] = f"{model} {reason}"
            elif samplers[sampler].name != TUNED_PLAIN:
                cells += [Cell(sampler, model, r, f) for r in range(repeats) for f in range(folds)]
    return cells, notes_on_omitted(omitted)


def notes_on_omitted(omitted: Mapping[tuple[str, str], str]) -> list[str]:
    """Return one sentence for each model and reason, given the reason why each pair is not planned.

    Examples
    --------
    >>> notes_on_omitted({("crt", "svm"): "svm cannot take it", ("mixup", "svm"): "svm cannot take it"})
    ['crt, mixup with svm are not planned: svm cannot take them']
    """
    together: dict[tuple[str, str], list[str]] = {}
    for (sampler, model), reason in omitted.items():
        together.setdefault((model, reason), []).append(sampler)
    return [
        f"{samplers[0]} with {model} is not planned: {reason}"
        if len(samplers) == 1
        else f"{', '.join(samplers)} with {model} are not planned: {re.sub(' it$', ' them', reason)}"
        for (model, reason), samplers in together.items()
    ]


def why_not(resampler: Resampler, spec: ModelSpec) -> str:
    """Return why a sampler is not combined with a model, without a subject; empty if it is.

    Examples
    --------
    >>> why_not(Resampler("focal_loss"), resolve_models(["svm"])["svm"])
    'cannot take it'
    """
    if resampler.name != "none" and spec.balances:
        return "balances the classes itself"
    return "" if resampler.factory is not None or spec.takes(resampler.name) else "cannot take it"


def _resolve(asked: Any, kind: str, convert: Callable[[str, Any], Any]) -> Any:
    pairs = _named(asked, kind)
    if not pairs:
        raise InputError(f"received no {kind}; name at least one")
    found: dict[str, Any] = {}
    for name, value in pairs:
        if not is_name(name):
            raise InputError(
                f"received {shown(name)} as the name of a {kind}; expected a text of 1 to {LONGEST_NAME} "
                "printable characters"
            )
        thing = _look_up(value, kind) if isinstance(value, str) else value
        short = _short_name(thing, name) if value is name else name
        if short in found:
            raise InputError(f"received the {kind} {short!r} twice; name each one once")
        if isinstance(thing, Plugin):
            made = convert(short, thing.load())
            found[short] = replace(made, fingerprint=thing.fingerprint() + made.fingerprint)
        else:
            found[short] = convert(short, thing)
    return found


def _named(asked: Any, kind: str) -> list[tuple[Any, Any]]:
    """Return the requested items with their names; if only a name is given, both are the same."""
    if isinstance(asked, Mapping):
        return list(asked.items())
    if isinstance(asked, str) or hasattr(asked, "get_params"):
        asked = [asked]
    if not isinstance(asked, Iterable):
        raise InputError(f"received {shown(asked)} as {kind}s; expected a list of names or objects")
    pairs: list[tuple[Any, Any]] = []
    for thing in asked:
        if isinstance(thing, tuple) and len(thing) == 2:  # As in scikit-learn pipelines.
            pairs.append(thing)
        elif isinstance(thing, str):
            pairs.append((thing, thing))
        elif isinstance(thing, type):
            raise InputError(_class_received(thing, kind))
        elif isinstance(thing, Collection) and not hasattr(thing, "get_params"):
            raise InputError(
                f"received {shown(thing)} among the {kind}s; expected names or objects, so give one flat list"
            )
        else:
            pairs.append((_class_name(thing), thing))
    taken = {name for name, thing in pairs if name is thing or not hasattr(thing, "get_params")}
    return [(_unused(name, taken) if hasattr(thing, "get_params") else name, thing) for name, thing in pairs]


def _class_name(thing: Any) -> str:
    """Return the class name of an object; for a pipeline, include the class name of its last step."""
    name, steps = type(thing).__name__, getattr(thing, "steps", None)
    return f"{name}({type(steps[-1][1]).__name__})" if steps else name


def _unused(name: str, taken: set[str]) -> str:
    numbered = chain([name], (f"{name}-{number}" for number in count(2)))
    found = next(one for one in numbered if one not in taken)
    taken.add(found)
    return found


def _short_name(thing: Any, asked: str) -> str:
    """Return the name to show in tables for an object requested by name."""
    if isinstance(thing, Plugin):
        return thing.name
    return thing if isinstance(thing, str) else asked.rpartition(":")[2]


def _look_up(name: str, kind: str) -> Any:
    """Return a registered name in its canonical spelling, a plugin, or an object of ``package.module:Class``.

    Raises
    ------
    InputError
        For an unregistered name, or a class that cannot be instantiated.
    """
    if kind == "sampler" and lookup(base_name(spelt := spell(name))):
        return spelt
    if ":" in name:
        return _imported(name, kind)
    if (spelt := known_spelling(name, _OWN[kind])) in _OWN[kind]:
        return spelt
    plugins = find_plugins(kind)
    if (spelt := known_spelling(name, plugins)) in plugins:
        return plugins[spelt]
    if kind == "sampler" and (spelt := known_spelling(name, CATEGORICAL)) in CATEGORICAL:
        return spelt  # Later refused by `check_sampler_name`, with the reason.
    if kind == "model" and name.endswith(FUSED):
        raise _fused_received(name)
    if kind == "model" and name.casefold() == "ensemble":
        raise InputError(
            "received the model 'ensemble', which is made from other models; name them, and add the ensemble "
            "with --ensemble both=svm,cnn (in Python, ensembles={'both': ['svm', 'cnn']})"
        )
    known = {own: [*_OWN[own], *find_plugins(own)] for own in _OWN}
    known["sampler"] += GROUPS
    raise unknown_name(kind, name, known.pop(kind), known)


def _imported(name: str, kind: str) -> Any:
    """Return an instance of the class ``package.module:Class``."""
    module_name, _, attribute = name.rpartition(":")
    try:
        module = importlib.import_module(module_name)
        if hasattr(module, attribute):
            return getattr(module, attribute)()
        reason = f"{module_name} has no {attribute}"
        mend = did_you_mean(attribute, _classes(module), lambda near: repr(f"{module_name}:{near}"))
    except Exception as error:  # User-defined modules may raise any exception on import.
        reason, mend = one_line(str(error)), ""
        if module_name.endswith(".py"):
            mend = f"; leave out .py: {module_name.removesuffix('.py').replace('/', '.')}:{attribute}"
    mend = mend or (
        "; expected package.module:Class, importable from here, with a class that needs no arguments"
    )
    raise InputError(f"received {kind} {name!r}, which cannot be instantiated ({reason}){mend}")


def _classes(module: ModuleType) -> list[str]:
    return [
        name
        for name, thing in vars(module).items()
        if isinstance(thing, type) and not inspect.isabstract(thing)
    ]


def _fused_received(name: str) -> InputError:
    return InputError(
        f"received the model name {name!r}; names ending in {FUSED} come from --clinical, so name "
        f"{name.removesuffix(FUSED)!r} and add --clinical age sex localization"
    )


def _as_model(name: str, value: Any) -> ModelSpec:
    if name.endswith(FUSED):
        raise _fused_received(name)
    if isinstance(value, ModelSpec):
        return replace(value, fingerprint=value.fingerprint or _fingerprint(name, value))
    if isinstance(value, str):
        return replace(MODELS[value], fingerprint="" if name == value else value)
    if isinstance(value, type):
        raise InputError(_class_received(value, "model"))
    if hasattr(value, "fit_resample") and not hasattr(value, "predict"):
        raise InputError(f"received the sampler {shown(value)} as a model; move it to the samplers")
    needed = ("fit", "predict", "get_params")
    if not all(hasattr(value, method) for method in needed):
        raise InputError(
            f"received {_described(value)} as model {name!r}; expected a name or a scikit-learn classifier "
            "object, with fit, predict and get_params"
        )
    if not hasattr(value, "predict_proba") and not hasattr(value, "decision_function"):
        raise InputError(
            f"model {name!r} ({type(value).__name__}) has neither predict_proba nor decision_function; "
            "wrap it in scikit-learn's CalibratedClassifierCV"
        )
    from sklearn.utils.validation import has_fit_parameter

    value = _unfitted(value)
    return ModelSpec(
        title=name,
        classifier=partial(_classifier_like, value),
        weights=has_fit_parameter(value, "sample_weight"),
        fingerprint=_fingerprint(name, value),
    )


def _described(value: Any) -> str:
    """Return the representation of a value for an error message, or its class if it has none of its own."""
    plain = type(value).__repr__ is object.__repr__
    return f"an object of {type(value).__name__}" if plain else shown(value)


def _class_received(value: type, kind: str) -> str:
    name = value.__name__
    return f"received the class {name} as a {kind}; pass an instance, such as {name}(), or a name"


def _classifier_like(estimator: Any, setting: Setting) -> Any:
    return _cloned(estimator, setting.seed)


def _as_sampler(name: str, value: Any, class_names: Sequence[str]) -> Resampler:
    if isinstance(value, Resampler):
        return replace(value, fingerprint=value.fingerprint or _fingerprint(name, value))
    if isinstance(value, str):
        own = "" if name == value else value
        if base_name(value) in STRATEGIES:
            return Resampler(STRATEGIES[base_name(value)].same_as or value, fingerprint=own)
        return Resampler(value, partial(make_sampler, check_sampler_name(value)), fingerprint=own)
    if isinstance(value, type):
        raise InputError(_class_received(value, "sampler"))
    if hasattr(value, "predict") and not hasattr(value, "fit_resample"):
        raise InputError(f"received the model {shown(value)} as a sampler; move it to the models")
    if not hasattr(value, "fit_resample") or not hasattr(value, "get_params"):
        raise InputError(
            f"received {_described(value)} as sampler {name!r}; expected a name or an imbalanced-learn "
            "sampler object, with fit_resample and get_params"
        )
    value = _unfitted(with_class_codes(value, class_names))
    return Resampler(name, partial(_cloned, value), fingerprint=_fingerprint(name, value))


def _unfitted(estimator: Any) -> Any:
    """Return an unfitted clone of an estimator, so a fitted estimator counts as the same model."""
    from sklearn.base import clone

    try:
        return clone(estimator)
    except Exception:  # Each cell also clones the estimator and reports the error.
        return estimator


def _cloned(estimator: Any, seed: int) -> Any:
    from sklearn.base import clone

    return seeded(clone(estimator), seed)


def _fingerprint(name: str, thing: Any) -> str:
    """Return a digest of a user-defined model or sampler; raises InputError if it cannot be pickled.

    The pickle contains the settings, and also the code if the object was defined in a script or notebook. It
    only names what was defined elsewhere, so the digest includes the code behind these names.
    """
    stream = io.BytesIO()
    try:
        _DigestPickler(stream).dump(thing)
    except Exception as error:  # Attributes may raise any exception when pickled.
        raise InputError(
            f"{name!r} ({type(thing).__name__}) cannot be sent to a worker process ({error}); "
            "remove what cannot be pickled"
        ) from None
    content = stream.getvalue()
    state = hashlib.sha256(content)
    for part in _code_behind(content):
        state.update(part)
    return state.hexdigest()


class _DigestPickler(cloudpickle.Pickler):
    """A pickler that leaves out what differs between processes with the same code.

    That is where the code stands, the random id that cloudpickle gives to each class, and the order of sets.
    What it writes cannot be loaded.
    """

    def persistent_id(self, thing: Any) -> Any:
        """Return what is pickled in place of code and of sets; None for anything else."""
        if isinstance(thing, CodeType):
            return thing.replace(co_filename="", co_firstlineno=1, co_linetable=b"")
        return sorted(thing, key=repr) if isinstance(thing, set | frozenset) else None

    def reducer_override(self, thing: Any) -> Any:
        """Pickle functions and classes of scripts and notebooks without their place and id."""
        reduced = super().reducer_override(thing)
        if reduced is NotImplemented or len(reduced) == 2:
            return reduced
        make, arguments, state, *rest = reduced
        if isinstance(thing, type):
            arguments = [
                part for part in arguments if not (isinstance(part, str) and _CLASS_ID.fullmatch(part))
            ]
            for name in ("__firstlineno__", "__static_attributes__"):  # From Python 3.13 on.
                state[0].pop(name, None)
        else:
            arguments[1].pop("__file__", None)
        return make, (*arguments,), state, *rest


def _code_behind(content: bytes) -> Iterator[bytes]:
    """Yield the user's source files that a pickle depends on, and the versions of installed packages.

    A user's package counts as a whole, and the import statements of its files are followed. Modules imported
    by other means, such as ``importlib.import_module``, and data files are not seen.
    """
    texts = [text for _, text, _ in pickletools.genops(content) if isinstance(text, str)]
    waiting = [text for text in texts if text in sys.modules]
    yield code_digest(*sorted({name for name in waiting if name.startswith("skinmnist.")})).encode()
    known = {*sys.stdlib_module_names, "__main__", "skinmnist"}
    while waiting:
        package = waiting.pop().partition(".")[0]
        if package in known:
            continue
        known.add(package)
        if version := installed_version(package):
            yield version.encode()
            continue
        for path in source_files(package):
            source = path.read_bytes()
            yield path.name.encode() + source
            waiting += _imported_by(source)


@cache  # Models share their packages, and main and external plans their models.
def _imported_by(source: bytes) -> Sequence[str]:
    """Return the names of the modules that a source file imports, except relative ones."""
    with catch_warnings(action="ignore"), suppress(SyntaxError, ValueError, RecursionError):
        return take_imports(ast.parse(source))
    return []  # Python cannot import the file either.
