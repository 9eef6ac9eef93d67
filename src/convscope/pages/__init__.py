"""Results for people: one HTML page, or a folder of pictures, tables and data.

Everything that ``convscope attack`` and ``convscope inspect`` write with ``--out``, for use from
Python, and what the sections of an audit share with these pages.
"""

from __future__ import annotations

from convscope.pages._attack_page import attack_rows, spoken, write_result
from convscope.pages._confusion import show_confusions
from convscope.pages._image_page import (
    Inspection,
    agreement,
    inspect_images,
    laid_over,
    occlusion_rows,
    prediction_rows,
    scale_bars,
    selected_galleries,
    write_images,
)
from convscope.pages._playground_page import (
    PlayablePage,
    framed,
    framed_network,
    framed_report,
    playable_page,
)
from convscope.pages._prediction_page import (
    class_rows,
    joined_predictions,
    write_predictions,
)
from convscope.pages._search_page import write_search
from convscope.pages._survival_page import survival_rows, survival_table, write_survival
from convscope.pages._transfer_page import class_table, mistake_rows, write_transfer
from convscope.pages._trust_page import (
    TRUST_COLUMNS,
    seconds_per_pass,
    trust_judging,
    trust_rows,
    write_trust,
)
from convscope.pages._unit_page import effect_rows, picture_rows, unit_rows, write_units
from convscope.pages._write import (
    keep_image,
    name_of,
    screen_scale,
    shown_name,
    some_are,
    write_csv,
    write_page,
)

__all__ = [
    "TRUST_COLUMNS",
    "Inspection",
    "PlayablePage",
    "agreement",
    "attack_rows",
    "class_rows",
    "class_table",
    "effect_rows",
    "framed",
    "framed_network",
    "framed_report",
    "inspect_images",
    "joined_predictions",
    "keep_image",
    "laid_over",
    "mistake_rows",
    "name_of",
    "occlusion_rows",
    "picture_rows",
    "playable_page",
    "prediction_rows",
    "scale_bars",
    "screen_scale",
    "seconds_per_pass",
    "selected_galleries",
    "show_confusions",
    "shown_name",
    "some_are",
    "spoken",
    "survival_rows",
    "survival_table",
    "trust_judging",
    "trust_rows",
    "unit_rows",
    "write_csv",
    "write_images",
    "write_page",
    "write_predictions",
    "write_result",
    "write_search",
    "write_survival",
    "write_transfer",
    "write_trust",
    "write_units",
]
