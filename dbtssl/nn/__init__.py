"""Networks: backbones through timm, heads, momentum teacher, queue."""
