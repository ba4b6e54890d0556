from dds.models.linear_segmenter import LinearSegmenter
from dds.models.weights import pretrained

__all__ = ["LinearSegmenter", "pretrained"]
