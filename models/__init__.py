"""Shipped models: one folder each with config.json, model.safetensors and a card (README.md)."""
