"""Which attacks an audit runs: what their records say."""

import typing
from dataclasses import replace

import pytest
import torch

from convscope._registry import Effort
from convscope.attacks import ATTACKS, SHARED, pgd
from convscope.reports import Section
from convscope.studies._context import Audit
from convscope.studies._fooling import _differences, fooling, planned
from tests.contracts.run_time import Few, with_my_attack

EFFORTS = typing.get_args(Effort)
SPECS = {**ATTACKS.specs(), **SHARED.specs()}

mine = pytest.fixture(with_my_attack)


@pytest.mark.parametrize("name", SPECS)
def test_an_attack_is_planned_if_its_record_says_with_what(name):
    assert any(name in planned(effort) for effort in EFFORTS) is bool(SPECS[name].audit)


def test_an_attack_registered_at_run_time_is_in_the_audit_with_its_defaults(mine):
    assert planned("quick")["my-attack"] == {}
    spec = ATTACKS.spec("my-attack")
    assert spec.kind == "bounded" and spec.about == "Do what nobody has done."
    audit = Few("quick")
    section = Section("fooling", "Attacks")
    fooling(typing.cast(Audit, audit), section)
    (table,) = [block for block in section.blocks if block["type"] == "table"]
    assert len(table["rows"]) == len(planned("quick")) and "my-attack" in planned("quick")
    assert [row[0] for row in table["rows"]].count("pgd") == 2  # pgd itself, and what calls it


def test_an_attack_that_needs_a_target_is_in_no_audit_and_says_why(mine):
    def other(classifier, images, labels, *, targets):
        """Go somewhere."""

    ATTACKS["other"] = other
    try:
        spec = ATTACKS.spec("other")
        assert spec.needs_target and spec.no_audit and "other" not in planned("full")
    finally:
        del ATTACKS["other"]


def test_under_each_difference_stands_its_own_factor():
    audit, section = Few("quick"), Section("fooling", "Attacks")
    found = pgd(audit.classifier, audit.images[:2], audit.labels[:2], epsilon=0.1, steps=1)
    sizes = torch.tensor([0.1, 0.02])
    found = replace(found, adversarials=found.originals + sizes[:, None, None, None])
    _differences(typing.cast(Audit, audit), section, [found])
    (grid,) = section.blocks
    said = [row["cells"][0]["detail"] for row in grid["rows"]]
    assert said == ["10 ×, L∞ 0.1", "50 ×, L∞ 0.02"]
