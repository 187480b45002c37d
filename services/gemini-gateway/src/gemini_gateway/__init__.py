"""Gives the robots of Reachy Link a voice by Gemini Live."""
