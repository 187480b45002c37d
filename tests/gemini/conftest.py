from hypothesis import settings

settings.register_profile("gemini", deadline=None)  # the machine may be shared
settings.load_profile("gemini")
