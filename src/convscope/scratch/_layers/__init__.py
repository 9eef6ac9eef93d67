"""Layers: functions that remember what their backward pass needs."""
