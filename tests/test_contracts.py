"""Every part of every family, plugins too, keeps the contracts of its family."""

import pytest

from unimodal.catalog import catalog
from unimodal.part_checks import part_checks
from unimodal.testing import check_part

FAMILIES = ("attention", "mixers", "norms", "ffns", "positions", "readouts", "stems")
PARTS = [(family, name) for family in FAMILIES for name in catalog(family)]
OWN = [(family, name) for family, name in PARTS if catalog(family).source(name) == "unimodal"]
CHECKS = [
    pytest.param(check, id=f"{family}.{name}-{title}")
    for family, name in OWN
    for title, check in part_checks(family, catalog(family)[name]).items()
]


@pytest.mark.parametrize("check", CHECKS)
def test_every_part_keeps_its_contracts(check):
    check()


@pytest.mark.parametrize("family, name", sorted(set(PARTS) - set(OWN)))
def test_every_part_of_an_installed_plugin_keeps_its_contracts(family, name):
    check_part(family, catalog(family)[name])
