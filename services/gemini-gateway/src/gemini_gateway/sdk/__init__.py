"""Gemini Live through google-genai: the one room that knows the SDK. What it raises and sends becomes our own words."""
