"""Markers and colours."""

from __future__ import annotations

from skinmnist.reporting.theme import marker_style


def test_none_is_hollow_and_every_other_sampler_has_its_own_mark() -> None:
    samplers = ["SMOTE", "none", "ADASYN"]
    styles = {name: marker_style(samplers, name, "#123456") for name in samplers}
    assert styles["none"]["markerfacecolor"] == "none"
    assert len({style["marker"] for style in styles.values()}) == 3
