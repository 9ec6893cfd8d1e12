"""The fixture's own look at the end of a platform can see what it looks for."""

from pathlib import Path

import pytest

import leftovers
from platform_fixture import running_platform


def test_control_groups_of_a_platform_are_there_while_it_runs_and_gone_afterwards(tmp_path: Path) -> None:
    with running_platform(tmp_path) as platform:
        if platform.ready["cgroups"] == "none":
            pytest.skip("this host gives no control groups")
        assert leftovers.control_groups(f"lambent-{platform.account}")
    assert not leftovers.control_groups(f"lambent-{platform.account}")
