from hypothesis import settings

settings.register_profile("console", deadline=None)  # the machine may be shared
settings.load_profile("console")
