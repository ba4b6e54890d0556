from dds.results.figures.comparison import Outcome, courses, draw_comparison, exchange
from dds.results.figures.draw import draw_figures
from dds.results.figures.examples import example_panels
from dds.results.figures.heatmap import view_heatmaps
from dds.results.figures.sanity import sanity_curves
from dds.results.figures.trade_off import trade_off
from dds.results.figures.utility import utility_curve

__all__ = [
    "Outcome",
    "courses",
    "draw_comparison",
    "draw_figures",
    "example_panels",
    "exchange",
    "sanity_curves",
    "trade_off",
    "utility_curve",
    "view_heatmaps",
]
