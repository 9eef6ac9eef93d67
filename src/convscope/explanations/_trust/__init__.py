"""Whether to believe an explanation: tests of faithfulness, sanity, place and stability."""

from convscope.explanations._trust._faithfulness import Faithfulness, area, deletion_insertion
from convscope.explanations._trust._pointing import (
    Localization,
    Mosaics,
    localization,
    mosaics,
    pointing,
)
from convscope.explanations._trust._progress import images_in_all
from convscope.explanations._trust._randomization import Randomization, weight_randomization
from convscope.explanations._trust._similarity import spearman
from convscope.explanations._trust._stability import stability
from convscope.explanations._trust._table import Trust, TrustRow, random_maps, trust

__all__ = [
    "Faithfulness",
    "Localization",
    "Mosaics",
    "Randomization",
    "Trust",
    "TrustRow",
    "area",
    "deletion_insertion",
    "images_in_all",
    "localization",
    "mosaics",
    "pointing",
    "random_maps",
    "spearman",
    "stability",
    "trust",
    "weight_randomization",
]
