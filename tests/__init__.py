"""All tests. None of them depends on the speed of the machine, not even with hypothesis."""

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
