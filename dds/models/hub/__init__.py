"""Networks of the Hugging Face hub, by transformers, timm and open_clip, from safetensors."""
