"""What the section on training reads of a run folder, from damaged files."""

import pytest

from convscope.studies._network import _environment, _settings
from tests.fuzz.damage import check_reader, needs_alarm, run_file

READERS = {
    "config.toml in a report": run_file("config.toml", _settings),
    "env.json in a report": run_file("env.json", _environment),
}


@needs_alarm
@pytest.mark.parametrize("name", READERS)
def test_damage_is_refused_in_the_family_and_nothing_hangs(name, tmp_path):
    check_reader(name, READERS[name], tmp_path, refuses=False)  # the section says what is wrong
