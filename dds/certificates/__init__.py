"""From noise draws to guarantees: numbers in, numbers out."""

from dds.certificates.asked import Asked, Way
from dds.certificates.ballot import Ballot
from dds.certificates.bounds import (
    betting,
    clopper_pearson,
    dvoretzky_kiefer_wolfowitz,
    empirical_bernstein,
)
from dds.certificates.median import median_interval, median_lower_bound, median_places
from dds.certificates.request import Certificate
from dds.certificates.score import (
    certify_data_set,
    certify_image,
    distribution_form,
    mean_form,
    shifted,
)
from dds.certificates.sequential import (
    anytime_lower_bound,
    anytime_radius,
    draws_until_certain,
    evidence,
    verdict,
    verdict_together,
)
from dds.certificates.vote import draws_needed, holding, holm, largest_radius, linf_radius, radius
from dds.certificates.worst_case import least_accuracy, least_box_iou, least_iou, worst_depth

__all__ = [
    "Asked",
    "Ballot",
    "Certificate",
    "Way",
    "anytime_lower_bound",
    "anytime_radius",
    "betting",
    "certify_data_set",
    "certify_image",
    "clopper_pearson",
    "distribution_form",
    "draws_needed",
    "draws_until_certain",
    "dvoretzky_kiefer_wolfowitz",
    "empirical_bernstein",
    "evidence",
    "holding",
    "holm",
    "largest_radius",
    "least_accuracy",
    "least_box_iou",
    "least_iou",
    "linf_radius",
    "mean_form",
    "median_interval",
    "median_lower_bound",
    "median_places",
    "radius",
    "shifted",
    "verdict",
    "verdict_together",
    "worst_depth",
]
