"""What `convscope scratch` offers without importing anything."""

from convscope import scratch
from convscope.cli import main
from convscope.cli._scratch import SCRATCH_NETWORKS


def test_the_networks_that_it_trains_are_those_that_there_are(capsys):
    assert tuple(scratch.NETWORKS) == SCRATCH_NETWORKS
    assert main(["scratch", "train", "mnist-tiny"]) == 2
    assert "mnist-tiny" in capsys.readouterr().err
