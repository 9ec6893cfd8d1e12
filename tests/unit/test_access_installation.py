"""The account and its keys survive; a damaged file is said, never replaced."""

import os
import stat

import pytest

from lambent.access.installation import DataDirectoryUnusable, InstallationDamaged, claim_data_dir, open_installation
from lambent.ids import Ids


def test_the_first_start_makes_keys_that_the_next_start_reads(tmp_path):
    made = open_installation(tmp_path, Ids())
    assert open_installation(tmp_path, Ids()) == made
    assert stat.S_IMODE((tmp_path / "installation.json").stat().st_mode) == 0o600
    assert len(made.account) == 12
    assert made.access_key_id.startswith("AKIA")
    assert len(made.secret_access_key) == 40


@pytest.mark.parametrize("content", [b"", b"{", b'{"account": 3}', b"\xff"])
def test_a_damaged_file_is_said_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "installation.json"
    path.write_bytes(content)
    with pytest.raises(InstallationDamaged, match="backup"):
        open_installation(tmp_path, Ids())
    assert path.read_bytes() == content


def test_a_data_directory_belongs_to_one_platform_at_a_time(tmp_path):
    path = tmp_path / "deep" / "data"
    held = claim_data_dir(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    with pytest.raises(DataDirectoryUnusable, match=f"pid {os.getpid()}.*--data-dir"):
        claim_data_dir(path)
    os.close(held)
    os.close(claim_data_dir(path))


def test_a_data_directory_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirectoryUnusable, match="--data-dir"):
        claim_data_dir(tmp_path / "file" / "data")
