from ray.util import deregister_serializer, register_serializer  # noqa: F401
