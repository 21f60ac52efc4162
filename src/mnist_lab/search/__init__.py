"""Decisions: what a study trains next, by HpBandSter's iterations and BOHB's model."""
