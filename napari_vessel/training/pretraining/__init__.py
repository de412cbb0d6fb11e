"""An encoder that has learnt vessels from images without labels, by filling in what is hidden (VasoMIM)."""
