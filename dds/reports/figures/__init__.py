from dds.reports.figures.certified import certified_curves, certified_runs, draw_certified_runs
from dds.reports.figures.comparison import Outcome, courses, draw_comparison, exchange
from dds.reports.figures.draw import draw_figures
from dds.reports.figures.examples import example_panels
from dds.reports.figures.heatmap import view_heatmaps
from dds.reports.figures.sanity import sanity_curves
from dds.reports.figures.trade_off import trade_off
from dds.reports.figures.utility import utility_curve

__all__ = [
    "Outcome",
    "certified_curves",
    "certified_runs",
    "courses",
    "draw_certified_runs",
    "draw_comparison",
    "draw_figures",
    "example_panels",
    "exchange",
    "sanity_curves",
    "trade_off",
    "utility_curve",
    "view_heatmaps",
]
