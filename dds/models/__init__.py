from dds.models.weights import pretrained

__all__ = ["pretrained"]
