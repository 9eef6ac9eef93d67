"""Results become pictures: matplotlib figures, or PNG mosaics with one pixel per number.

`draw` takes any result. The other functions draw one aspect, for reports and papers.
"""

from convscope.figures._attacks import (
    attack_title,
    budget,
    difference_tile,
    draw_attack,
    objective_curve,
    verdict,
)
from convscope.figures._curve import curve
from convscope.figures._draw import FIGURES, draw
from convscope.figures._evaluation import (
    calibration_diagram,
    confusion_matrix,
    draw_evaluation,
    draw_mistakes,
    per_class_bars,
    top_confusions,
)
from convscope.figures._explanations import (
    draw_explanation,
    explanation_tile,
    explanation_title,
    is_clipped,
    is_empty,
    is_signed,
    row_limit,
    strength,
)
from convscope.figures._feature_maps import draw_feature_maps, map_caption, map_sheet
from convscope.figures._filters import (
    draw_filters,
    filter_caption,
    filter_legend,
    filter_sheet,
)
from convscope.figures._mosaic import (
    colored,
    enlarged,
    heat,
    mosaic,
    overlay,
    photo,
    pixels,
    png,
    stretched,
)
from convscope.figures._networks import draw_network
from convscope.figures._noises import (
    draw_patch,
    draw_universal_noise,
    noise_error_curve,
    noise_success_curve,
    noise_tile,
)
from convscope.figures._robustness import (
    draw_certification,
    draw_defenses,
    draw_model_transfer,
    draw_noise_transfer,
    draw_robustness_curve,
    draw_robustness_evaluation,
    draw_survival,
)
from convscope.figures._scratch import (
    draw_addition,
    draw_gradient_checks,
    draw_training_curve,
)
from convscope.figures._svg import svg
from convscope.figures._text import class_label, label, percent
from convscope.figures._training import accuracy_curve, draw_history, draw_training, loss_curve
from convscope.figures._trust import draw_trust
from convscope.figures._visualizations import (
    ascent_curve,
    bands,
    draw_visualization,
    unit_name,
    unit_tile,
    visualization_title,
)

__all__ = [
    "FIGURES",
    "accuracy_curve",
    "ascent_curve",
    "attack_title",
    "bands",
    "budget",
    "calibration_diagram",
    "class_label",
    "colored",
    "confusion_matrix",
    "curve",
    "difference_tile",
    "draw",
    "draw_addition",
    "draw_attack",
    "draw_certification",
    "draw_defenses",
    "draw_evaluation",
    "draw_explanation",
    "draw_feature_maps",
    "draw_filters",
    "draw_gradient_checks",
    "draw_history",
    "draw_mistakes",
    "draw_model_transfer",
    "draw_network",
    "draw_noise_transfer",
    "draw_patch",
    "draw_robustness_curve",
    "draw_robustness_evaluation",
    "draw_survival",
    "draw_training",
    "draw_training_curve",
    "draw_trust",
    "draw_universal_noise",
    "draw_visualization",
    "enlarged",
    "explanation_tile",
    "explanation_title",
    "filter_caption",
    "filter_legend",
    "filter_sheet",
    "heat",
    "is_clipped",
    "is_empty",
    "is_signed",
    "label",
    "loss_curve",
    "map_caption",
    "map_sheet",
    "mosaic",
    "noise_error_curve",
    "noise_success_curve",
    "noise_tile",
    "objective_curve",
    "overlay",
    "per_class_bars",
    "percent",
    "photo",
    "pixels",
    "png",
    "row_limit",
    "strength",
    "stretched",
    "svg",
    "top_confusions",
    "unit_name",
    "unit_tile",
    "verdict",
    "visualization_title",
]
