from ray.util import list_named_actors  # noqa: F401
