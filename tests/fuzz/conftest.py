from hypothesis import settings

settings.register_profile("fuzz", deadline=None, max_examples=300)
settings.load_profile("fuzz")
