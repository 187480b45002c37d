"""The robot's end of Reachy Link: it moves samples between a device and the link, and knows nothing of Gemini."""
