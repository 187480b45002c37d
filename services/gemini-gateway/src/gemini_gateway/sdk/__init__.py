"""Gemini Live through google-genai. Only this package knows the SDK; it translates the SDK's messages and errors."""
