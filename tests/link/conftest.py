from hypothesis import settings

settings.register_profile("link", deadline=None)  # the machine may be shared
settings.load_profile("link")
