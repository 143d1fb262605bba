"""Ways to compute one network on a processor: plain PyTorch, compiled, OpenVINO; float32 to 8 bits."""
