"""Presets: published systems described in TOML files, read as frozen dataclasses, and run as published."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from skinmnist.datasets.files import shipped
from skinmnist.datasets.table import PixelTable
from skinmnist.errors import InputError
from skinmnist.experiment.cells import Cell
from skinmnist.experiment.fit_cell import Trial
from skinmnist.experiment.grid import resolve_samplers
from skinmnist.experiment.inputs import resample_all
from skinmnist.experiment.plan import Plan
from skinmnist.experiment.splits import assign_folds
from skinmnist.models.blueprints import (
    Augmentation,
    Blueprint,
    Training,
    is_number,
    read_blueprint,
    read_fields,
)
from skinmnist.models.spec import Cost, FeatureSettings, ModelSpec, Setting
from skinmnist.names import unknown_name
from skinmnist.presets.claims import CLAIMS
from skinmnist.resampling.registry import AS_THEY_ARE
from skinmnist.resampling.strategies import SAMPLERS
from skinmnist.text import is_name, one_line, shown

#: The largest changes that Keras layers accept, in degrees or as fractions.
LARGEST = {"rotation": 360, "zoom": 1, "shift": 1, "shear": 1, "brightness": 1}

#: The folder of the presets that are shipped with skinmnist.
FOLDER = shipped()

#: Share of the training lesions that callbacks use for validation in the honest protocol.
VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class Head:
    """The ``[system]`` table of a preset file."""

    title: str = ""
    #: The title of the page, if known.
    page: str = ""
    #: Description of the page, with the scores that it claims, in words.
    about: str = ""
    claim: str = ""
    #: Our choices where the page is incomplete, and any reductions that shorten the run to minutes.
    choices: tuple[str, ...] = ()
    less: str = ""
    #: Number of cross-validation folds; with `holdout`, the test set is one fold of that many.
    folds: int = 5
    holdout: bool = False
    #: Number of rows to use, sampled by lesion; None: all rows.
    rows: int | None = None
    sampler: str = "none"
    #: Height and width of the page's pictures, such as ``"75x100"``, and the number of classes in its data.
    size: str = ""
    classes: int = 7


@dataclass(frozen=True)
class AsPublished:
    """Differences between the protocol of the page and the honest protocol."""

    #: Whether pictures are split one by one, so both sides share lesions.
    by_image: bool = True
    #: Whether the sampler is applied to all pictures before the split.
    sampler_first: bool = False
    #: Whether callbacks monitor the held-out pictures and restore the best weights on them.
    watches_test: bool = False

    @property
    def differences(self) -> tuple[str, ...]:
        """Descriptions of the differences that inflate the scores of the page."""
        applies = {
            "pictures are split one by one, so that a lesion can be in both training and test": self.by_image,
            "the sampler works before the split, so that copies are on both sides": self.sampler_first,
            "the held-out pictures determine when to stop and which weights to keep": self.watches_test,
        }
        return tuple(words for words, holds in applies.items() if holds)


@dataclass(frozen=True)
class Network:
    """A network of a preset: its name in tables, its title, and its layers."""

    name: str
    title: str
    blueprint: Blueprint


@dataclass(frozen=True)
class Preset:
    """A published system, named after its file; `claims` maps the names in `CLAIMS` to claimed scores."""

    name: str
    head: Head
    claims: Mapping[str, float]
    networks: tuple[Network, ...]
    training: Training
    augmentation: Augmentation | None
    published: AsPublished

    @property
    def samplers(self) -> tuple[str, ...]:
        """The samplers to run: none, and the sampler of the page."""
        return tuple(dict.fromkeys(("none", self.head.sampler)))

    def models(self, validation_share: float = VALIDATION_SHARE) -> dict[str, ModelSpec]:
        """Return the networks as models of a comparison.

        Callbacks, if any, use `validation_share` of the training lesions for validation.
        """
        return {network.name: self._model(network, validation_share) for network in self.networks}

    def _model(self, network: Network, validation_share: float) -> ModelSpec:
        parts = [asdict(network.blueprint), asdict(self.training)]
        parts.append(asdict(self.augmentation) if self.augmentation else {})
        return ModelSpec(
            title=network.title,
            classifier=partial(make_published, network.blueprint, self.training, self.augmentation),
            features=FeatureSettings(pixel_type="uint8"),
            weights=True,
            sample_indices=True,
            validation_share=validation_share if self.training.needs_validation else 0.0,
            cost=Cost(60.0, library="skinmnist.models.cnn.stacked"),
            fingerprint=hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest(),
        )


def make_published(
    blueprint: Blueprint, training: Training, augmentation: Augmentation | None, setting: Setting
) -> Any:
    """Build the classifier of a preset's network; TensorFlow is imported here."""
    from skinmnist.models.cnn.stacked import PublishedNetwork

    return PublishedNetwork(setting.shape, blueprint, training, augmentation, setting.seed)


def find_preset(name: str) -> Path:
    """Return the file of a preset, given its path, or its name in the working directory or in `FOLDER`.

    Examples
    --------
    >>> find_preset("kfold_cnn").name
    'kfold_cnn.toml'
    """
    path = Path(name)
    if path.is_file():
        return path
    files = [*sorted(Path().glob("*.toml")), *sorted(FOLDER.glob("*.toml"))]
    wanted = path.name.removesuffix(".toml").casefold()
    found = next((file for file in files if file.stem.casefold() == wanted), None)
    if path.name != name:
        hint = (
            f"did you mean {found.stem!r}?" if found else "name a TOML file, or a preset without its folder"
        )
        raise InputError(f"there is no preset {shown(name)}; {hint}")
    if found is None:
        raise unknown_name("preset", name, sorted({file.stem for file in files if _is_preset(file)}))
    return found


def _is_preset(path: Path) -> bool:
    try:
        return "system" in tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False


def read_preset(path: str | Path) -> Preset:
    """Read a preset; raises InputError if it is unreadable or has an invalid key or value.

    Examples
    --------
    >>> preset = read_preset(find_preset("kfold_cnn"))
    >>> preset.head.sampler, preset.head.folds, list(preset.models())
    ('RandomOverSampler', 3, ['kfold_cnn'])
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise InputError(f"the preset {path} cannot be read ({error.strerror}); name a TOML file") from None
    except (ValueError, RecursionError) as error:  # Invalid TOML, UTF-8, numbers or nesting.
        raise InputError(
            f"the preset {path} is not valid TOML ({one_line(str(error))}); correct that line"
        ) from None
    try:
        return _as_preset(path.stem, content)
    except InputError as error:
        raise InputError(f"the preset {path}: {error}") from None


_TABLES = ("system", "claims", "networks", "training", "augmentation", "published")


def _as_preset(name: str, content: dict[str, Any]) -> Preset:
    for key, value in content.items():
        if key not in _TABLES:
            raise InputError(f"received the table {shown(key)}; valid tables are {', '.join(_TABLES)}")
        if not isinstance(value, list if key == "networks" else dict):
            kind = "an array of tables, [[networks]]" if key == "networks" else f"a table, [{key}]"
            raise InputError(f"received {key} = {shown(value)}; expected {kind}")
    head = _head(content.get("system", {}))
    published = read_fields(AsPublished, "[published]", content.get("published", {}))
    if published.sampler_first and head.sampler not in SAMPLERS:
        raise InputError(
            f"[published] received sampler_first with the sampler {shown(head.sampler)}; name a sampler that "
            "makes rows, such as RandomOverSampler or SMOTE"
        )
    return Preset(
        name=name,
        head=head,
        claims=_claims(content.get("claims", {})),
        networks=_networks(content.get("networks", [])),
        training=_training(content.get("training", {})),
        augmentation=_augmentation(content["augmentation"]) if "augmentation" in content else None,
        published=published,
    )


def _head(declared: Mapping[str, Any]) -> Head:
    head = read_fields(Head, "[system]", declared)
    if not head.title:
        raise InputError("received no title; give one under [system]")
    if head.folds < 2:
        raise InputError(f"[system] received folds = {head.folds}; expected at least 2")
    if head.size and not re.fullmatch(r"[1-9][0-9]{0,3}x[1-9][0-9]{0,3}", head.size):
        raise InputError(
            f"[system] received size {shown(head.size)}; expected height x width, such as '75x100'"
        )
    resolve_samplers([head.sampler])
    return head


def _training(declared: Mapping[str, Any]) -> Training:
    training = read_fields(Training, "[training]", declared)
    if training.monitor not in ("loss", "accuracy"):
        raise InputError(
            f"[training] received monitor {shown(training.monitor)}; choose 'loss' or 'accuracy'"
        )
    if not training.learning_rate:
        raise InputError("[training] received learning_rate = 0; expected a positive number")
    if training.rate_factor >= 1:
        raise InputError(
            f"[training] received rate_factor = {training.rate_factor:g}; expected less than 1, to lower the "
            "learning rate"
        )
    return training


def _augmentation(declared: Mapping[str, Any]) -> Augmentation:
    augmentation = read_fields(Augmentation, "[augmentation]", declared)
    if augmentation.flip not in ("", "horizontal", "vertical", "horizontal_and_vertical"):
        raise InputError(
            f"[augmentation] received flip {shown(augmentation.flip)}; choose 'horizontal', 'vertical' "
            "or 'horizontal_and_vertical'"
        )
    for key, most in LARGEST.items():
        if getattr(augmentation, key) > most:
            raise InputError(
                f"[augmentation] received {key} = {getattr(augmentation, key):g}; expected at most {most}"
            )
    return augmentation


def _claims(declared: Mapping[str, Any]) -> dict[str, float]:
    for key, value in declared.items():
        if key not in CLAIMS or not is_number(value):
            raise InputError(
                f"[claims] received {shown(key)} = {shown(value)}; expected a number of at least 0 for "
                f"{', '.join(CLAIMS)}"
            )
    return {key: float(declared[key]) for key in CLAIMS if key in declared}


_NETWORK_KEYS = ("name", "title", "layers", "like", "batch_norm_after")


def _networks(declared: list[Any]) -> tuple[Network, ...]:
    """Read the networks; with ``like``, a network reuses the layers of an earlier network."""
    layers: dict[str, Any] = {}
    networks = [_network(table, layers) for table in declared]
    if not networks:
        raise InputError("received no network; declare one under [[networks]]")
    return tuple(networks)


def _network(table: Any, layers: dict[str, Any]) -> Network:
    """Read a network and add its layers to `layers`, the layers of earlier networks by name."""
    if not isinstance(table, Mapping):
        raise InputError(f"received {shown(table)} among the networks; write each under [[networks]]")
    unknown = [key for key in table if key not in _NETWORK_KEYS]
    name = table.get("name")
    if unknown or not is_name(name) or name in layers:
        wrong = shown(unknown[0]) if unknown else f"the name {shown(name)}"
        raise InputError(
            f"[[networks]] received {wrong}; valid keys are {', '.join(_NETWORK_KEYS)}, and every network "
            "has a name of its own"
        )
    title, like = table.get("title", name), table.get("like")
    if not isinstance(title, str):
        raise InputError(f"network {shown(name)} received the title {shown(title)}; expected a text")
    known = isinstance(like, str) and like in layers
    if ("layers" in table) == known or ("like" in table and not known):
        what = "both layers and like" if "layers" in table else "neither layers nor a known like"
        raise InputError(
            f"network {shown(name)} received {what}; give either layers, or like = a network above it"
        )
    layers[name] = table.get("layers", layers.get(str(like)))
    behind = table.get("batch_norm_after", [])
    if not _are(Mapping, layers[name]) or not _are(str, behind):
        raise InputError(
            f"network {shown(name)} received layers that are not tables, or a batch_norm_after that is not a "
            "list; write layers = [{ dense = 64 }] and batch_norm_after = ['dense']"
        )
    return Network(name, title, read_blueprint(layers[name], behind))


def _are(kind: type[Any], items: Any) -> bool:
    return isinstance(items, list) and all(isinstance(item, kind) for item in items)


def published_trial(preset: Preset, table: PixelTable, plan: Plan) -> Trial:
    """Return the trial that splits, resamples and validates like the page."""
    published, head, n_folds = preset.published, preset.head, plan.protocol.folds
    rows = np.flatnonzero(plan.task.folds[0] >= 0)
    models = preset.models(validation_share=0.0 if published.watches_test else VALIDATION_SHARE)
    task = replace(plan.task, models=models, validate_on_held_out=published.watches_test)
    if published.sampler_first:
        table = _resampled_first(preset, table, rows, plan.task.seed)
        rows = np.arange(len(table))
        task = replace(task, samplers={head.sampler: AS_THEY_ARE})
    if published.by_image or published.sampler_first:
        folds = assign_folds(table, n_folds, 1, "image", plan.task.seed, rows)
        task = replace(task, folds=folds, by_lesion=False)
    held_out = range(1 if head.holdout else n_folds)
    cells = [Cell(head.sampler, network.name, 0, fold) for network in preset.networks for fold in held_out]
    return Trial(f"{preset.name} as published", table, task, tuple(cells))


def _resampled_first(preset: Preset, table: PixelTable, rows: npt.NDArray[np.int64], seed: int) -> PixelTable:
    """Resample all rows at once; if the page balances with augmented copies, augment each copy."""
    resampled = resample_all(table, rows, preset.head.sampler, seed)
    if preset.augmentation is None or not preset.augmentation.copies_only or len(resampled) <= len(rows):
        return resampled
    from skinmnist.models.cnn.stacked import show_augmented

    # Samplers that copy rows return the original rows first, followed by the copies.
    copies = np.asarray(resampled.pixels[len(rows) :]).reshape(-1, *table.shape)
    changed = show_augmented(copies, preset.augmentation, 1, seed).reshape(len(copies), -1)
    pixels = np.concatenate([np.asarray(resampled.pixels[: len(rows)]), changed])
    return replace(resampled, pixels=pixels)
