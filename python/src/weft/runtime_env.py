"""RuntimeEnv: the environment a job, a task or an actor asks for. Here it is checked and written down; nodes build it (_build.py).

A RuntimeEnv is a dict, so a plain dict does as well wherever one is taken: it is checked the same way.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, Optional, Union
from urllib.parse import urlparse

logger = logging.getLogger(__name__)

DEFAULT_RUNTIME_ENV_TIMEOUT_SECONDS = 600

_SCHEMES = ("weft", "gcs", "http", "https", "s3", "gs", "azure", "abfss", "file", "local")
_ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar.xz")
_ONE_INSTALLER = (
    "The 'pip' field, 'uv' field, and 'conda' field of runtime_env cannot be specified at the same time.\n"
    "specified pip field: {pip}\nspecified conda field: {conda}\nspecified uv field: {uv}\n"
    "To use pip with conda, please only set the 'conda' field, and specify your pip dependencies within the conda YAML "
    "config dict."
)


class RuntimeEnvConfig(dict[str, Any]):
    """How an environment is built.

    ``setup_timeout_seconds`` bounds the building (-1: no bound). ``eager_install`` builds before the first worker
    needs it. ``log_files`` are paths to write the builders' output to as well. Raises TypeError and ValueError for
    other values.
    """

    def __init__(
        self,
        setup_timeout_seconds: int = DEFAULT_RUNTIME_ENV_TIMEOUT_SECONDS,
        eager_install: bool = True,
        log_files: Optional[list[str]] = None,
    ) -> None:
        if not isinstance(setup_timeout_seconds, int):
            raise TypeError(f"setup_timeout_seconds must be of type int, got: {type(setup_timeout_seconds)}")
        if setup_timeout_seconds <= 0 and setup_timeout_seconds != -1:
            raise ValueError(f"setup_timeout_seconds must be greater than zero or equals to -1, got: {setup_timeout_seconds}")
        if not isinstance(eager_install, bool):
            raise TypeError(f"eager_install must be a boolean. got {type(eager_install)}")
        if log_files is not None and not isinstance(log_files, list):
            raise TypeError(f"log_files must be a list of strings or None, got {log_files} with type {type(log_files)}.")
        if not all(isinstance(f, str) for f in log_files or ()):
            raise TypeError("Each item in log_files must be a string.")
        super().__init__(setup_timeout_seconds=setup_timeout_seconds, eager_install=eager_install, log_files=list(log_files or ()))

    @classmethod
    def default_config(cls) -> RuntimeEnvConfig:
        """A config with no value given."""
        return cls()

    @staticmethod
    def parse_and_validate_runtime_env_config(config: Union[dict[str, Any], RuntimeEnvConfig]) -> RuntimeEnvConfig:
        """A config from a dict; entries that are not known are warned of and left out."""
        if isinstance(config, RuntimeEnvConfig):
            return config
        if not isinstance(config, dict):
            raise TypeError(f"runtime_env['config'] must be of type dict or RuntimeEnvConfig, got: {type(config)}")
        known = {"setup_timeout_seconds", "eager_install", "log_files"}
        unknown = set(config) - known
        if unknown:
            logger.warning("The following unknown entries in the runtime_env_config dictionary will be ignored: %s.", unknown)
        return RuntimeEnvConfig(**{k: v for k, v in config.items() if k in known})

    def to_dict(self) -> dict[str, Any]:
        """A plain dict."""
        return dict(self)


class RuntimeEnv(dict[str, Any]):
    """An environment, as a dict of its fields; those that were not given, or are empty, are left out.

    ``env_vars`` (str to str), ``working_dir`` (a directory, an archive or a URI), ``py_modules`` (a list of the
    same), ``pip``, ``uv`` or ``conda`` (one of them), ``py_executable``, ``image_uri`` or ``container`` (nearly
    alone), ``excludes``, ``worker_process_setup_hook``, ``config``; other names are fields of plugins. Raises
    TypeError for a field of the wrong type and ValueError for a wrong value or for fields that do not go together.
    """

    def __init__(
        self,
        *,
        py_modules: Optional[list[Any]] = None,
        py_executable: Optional[str] = None,
        working_dir: Optional[str] = None,
        pip: Any = None,
        conda: Any = None,
        container: Optional[dict[str, Any]] = None,
        env_vars: Optional[dict[str, str]] = None,
        worker_process_setup_hook: Optional[Union[Callable[[], Any], str]] = None,
        nsight: Any = None,
        rocprof_sys: Any = None,
        config: Optional[Union[dict[str, Any], RuntimeEnvConfig]] = None,
        _validate: bool = True,
        image_uri: Optional[str] = None,
        uv: Any = None,
        **plugins: Any,
    ) -> None:
        fields = {
            "py_modules": py_modules,
            "py_executable": py_executable,
            "working_dir": working_dir,
            "_nsight": nsight,
            "_rocprof_sys": rocprof_sys,
            "pip": pip,
            "uv": uv,
            "conda": conda,
            "container": container,
            "env_vars": env_vars,
            "worker_process_setup_hook": worker_process_setup_hook,
            "config": config,
            "image_uri": image_uri,
            **plugins,
        }
        super().__init__({k: v for k, v in fields.items() if v is not None})
        if _validate:
            _check_together(self)
            for name in list(self):
                self.set(name, self[name])

    def __setitem__(self, name: str, value: Any) -> None:
        """Sets a field after checking it; a field that is checked and found empty is dropped."""
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = dataclasses.asdict(value)
        check = _CHECKS.get(name)
        value = check(value) if check else value
        if value is None:
            self.pop(name, None)
        else:
            super().__setitem__(name, value)

    def set(self, name: str, value: Any) -> None:
        """Sets a field as ``env[name] = value`` does; a dataclass is stored as a dict."""
        self[name] = value

    def get(self, name: str, default: Any = None, data_class: Optional[type] = None) -> Any:
        """A field, or ``default``; with ``data_class`` as an object of that class."""
        if name not in self:
            return default
        value = self[name]
        if name == "config" and not isinstance(value, RuntimeEnvConfig):
            return RuntimeEnvConfig.parse_and_validate_runtime_env_config(value)
        return value if data_class is None else data_class(**value)

    def __reduce__(self) -> tuple[Any, ...]:
        return RuntimeEnv.from_dict, (dict(self),)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> RuntimeEnv:
        """An environment whose fields were checked before."""
        env = cls()
        env.update(fields)
        return env

    @classmethod
    def deserialize(cls, serialized_runtime_env: str) -> RuntimeEnv:
        """The environment that serialize() wrote. Raises ValueError for text that is not JSON."""
        return cls.from_dict(json.loads(serialized_runtime_env))

    def serialize(self) -> str:
        """Canonical JSON: equal environments give equal text."""
        return json.dumps(self, sort_keys=True)

    def to_dict(self) -> dict[str, Any]:
        """A plain dict, all the way down."""
        plain: dict[str, Any] = {k: dict(v) if isinstance(v, RuntimeEnvConfig) else v for k, v in self.items()}
        return plain

    def has_working_dir(self) -> bool:
        """Whether there is a working directory."""
        return bool(self.get("working_dir"))

    def working_dir(self) -> str:
        """The working directory, "" if there is none."""
        return str(self.get("working_dir", ""))

    def working_dir_uri(self) -> Optional[str]:
        """The URI of the working directory."""
        uri: Optional[str] = self.get("working_dir")
        return uri

    def py_modules(self) -> list[str]:
        """The modules to put on the path."""
        return list(self.get("py_modules", []))

    def py_modules_uris(self) -> list[str]:
        """The URIs of the modules."""
        return self.py_modules()

    def py_executable(self) -> Optional[str]:
        """The command that starts Python."""
        command: Optional[str] = self.get("py_executable")
        return command

    def env_vars(self) -> dict[str, str]:
        """The environment variables."""
        return dict(self.get("env_vars", {}))

    def has_conda(self) -> bool:
        """Whether there is a conda environment."""
        return bool(self.get("conda"))

    def conda_env_name(self) -> Optional[str]:
        """The name of an installed conda environment, if one was given by name."""
        conda = self.get("conda")
        return conda if isinstance(conda, str) else None

    def conda_config(self) -> Optional[str]:
        """The conda environment to build, as canonical JSON."""
        conda = self.get("conda")
        return json.dumps(conda, sort_keys=True) if isinstance(conda, dict) else None

    def has_pip(self) -> bool:
        """Whether there are packages for pip."""
        return bool(self.get("pip"))

    def pip_config(self) -> dict[str, Any]:
        """packages, pip_check, and pip_version or pip_install_options if given."""
        return dict(self.get("pip", {}))

    def has_uv(self) -> bool:
        """Whether there are packages for uv."""
        return bool(self.get("uv"))

    def uv_config(self) -> dict[str, Any]:
        """packages, uv_check, uv_pip_install_options, and uv_version if given."""
        return dict(self.get("uv", {}))

    def image_uri(self) -> Optional[str]:
        """The image of the container workers run in."""
        image: Optional[str] = self.get("image_uri")
        return image

    def plugins(self) -> list[tuple[str, Any]]:
        """The fields of plugins: those that are not known here."""
        return [(k, v) for k, v in self.items() if k not in _KNOWN and not k.startswith("_")]


_KNOWN = frozenset(
    (
        "py_modules",
        "py_executable",
        "working_dir",
        "pip",
        "uv",
        "conda",
        "container",
        "env_vars",
        "worker_process_setup_hook",
        "config",
        "image_uri",
        "java_jars",
        "excludes",
    )
)


def merge_runtime_env(parent: Optional[Mapping[str, Any]], child: Optional[Mapping[str, Any]], override: bool = False) -> Optional[dict[str, Any]]:
    """The environment of a task: the parent's with the child's fields over it, and both's ``env_vars``.

    Without ``override`` a field, or a variable, that both set is a conflict and the result None.
    """
    ours, theirs = dict(parent or {}), dict(child or {})
    our_vars, their_vars = ours.pop("env_vars", None) or {}, theirs.pop("env_vars", None) or {}
    if not override and (ours.keys() & theirs.keys() or our_vars.keys() & their_vars.keys()):
        return None
    merged = {**ours, **theirs}
    variables = {**our_vars, **their_vars}
    return {**merged, "env_vars": variables} if variables else merged


def _check_together(env: RuntimeEnv) -> None:
    installers = {k: dict.get(env, k) for k in ("pip", "conda", "uv")}
    if sum(1 for v in installers.values() if v) > 1:
        raise ValueError(_ONE_INSTALLER.format(**installers))
    for image in ("container", "image_uri"):
        others = set(env) - {image, "config", "env_vars"}
        if image in env and others:
            raise ValueError(f"The '{image}' field currently cannot be used together with other fields of runtime_env. Specified fields: {others}")


def _check_env_vars(value: Any) -> Optional[dict[str, str]]:
    want = "runtime_env['env_vars'] must be of type Dict[str, str]"
    if not isinstance(value, dict):
        raise TypeError(f"{want}, got {type(value)}")
    for k, v in value.items():
        if not isinstance(k, str):
            raise TypeError(f"{want}, but the key {k} is of type {type(k)}")
        if not isinstance(v, str):
            raise TypeError(f"{want}, but the value {v} is of type {type(v)}")
    return value or None


def _check_place(value: Any, field: str, archives: tuple[str, ...]) -> str:
    """A directory, a file, or the URI of an archive."""
    url = urlparse(value)
    if "://" not in value:
        if not Path(value).expanduser().exists():
            raise ValueError(f"{value} is not a valid path.")
    elif url.scheme not in _SCHEMES:
        raise ValueError(
            f"{value} is not a valid URI. Passing directories or modules to be dynamically uploaded is only supported "
            "at the job level (i.e., passed to `weft.init`)."
        )
    elif not value.endswith(archives):
        raise ValueError(f"Only {', '.join(archives)} files are supported for {field} URIs; got {value}.")
    return str(value)


def _check_working_dir(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"`working_dir` must be a string, got {type(value)}.")
    return _check_place(value, "working_dir", _ARCHIVES)


def _check_py_modules(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise TypeError(f"`py_modules` must be a list of strings, got {type(value)}.")
    return [_check_py_module(m) for m in value]


def _check_py_module(module: Any) -> str:
    file = getattr(module, "__file__", None)
    if not isinstance(module, str) and isinstance(file, str):  # a module itself stands for its directory or file
        return os.path.dirname(file) if os.path.basename(file) == "__init__.py" else file
    if not isinstance(module, str):
        raise TypeError(f"`py_module` must be a string, got {type(module)}.")
    return _check_place(module, "py_modules", (".zip", ".whl", *_ARCHIVES[1:]))


def _check_installer(value: Any, field: str, types: str, extra: dict[str, type]) -> Optional[dict[str, Any]]:
    """What pip and uv share: a list of packages, a requirements file, or a dict with packages and options."""
    if isinstance(value, str):
        value = _read_requirements(value)
    if isinstance(value, list):
        if not all(isinstance(p, str) for p in value):
            raise TypeError(f"runtime_env['{field}'] must be of type {types}, got {type(value)}")
        return {"packages": _unique(value), f"{field}_check": False} if value else None
    if not isinstance(value, dict):
        raise TypeError(f"runtime_env['{field}'] must be of type {types}, got {type(value)}")
    unknown = set(value) - {"packages", *extra}
    if unknown:
        names = ["packages", *extra]
        raise ValueError(f"runtime_env['{field}'] can only have these fields: {', '.join(names[:-1])} and {names[-1]}, but got: {list(value)}")
    if "packages" not in value:
        raise ValueError(f"runtime_env['{field}'] must include field 'packages', but got {value}")
    for name, kind in extra.items():
        if name in value and not isinstance(value[name], kind):
            wanted = "list[str]" if kind is list else f"{kind.__name__},"
            raise TypeError(f"runtime_env['{field}']['{name}'] must be of type {wanted} got {type(value[name])}")
    packages = value["packages"]
    packages = _read_requirements(packages) if isinstance(packages, str) else packages
    if not isinstance(packages, list):
        raise ValueError(f"runtime_env['{field}']['packages'] must be of type list, got: {type(packages)}")
    return {**value, "packages": _unique(packages), f"{field}_check": value.get(f"{field}_check", False)}


def _check_pip(value: Any) -> Optional[dict[str, Any]]:
    options: dict[str, type] = {"pip_check": bool, "pip_install_options": list, "pip_version": str}
    return _check_installer(value, "pip", "str or List[str]", options)


def _check_uv(value: Any) -> Optional[dict[str, Any]]:
    options: dict[str, type] = {"uv_check": bool, "uv_version": str, "uv_pip_install_options": list}
    checked = _check_installer(value, "uv", "List[str], or dict", options)
    if checked:
        checked.setdefault("uv_pip_install_options", ["--no-cache"])
    return checked


def _read_requirements(path: str) -> list[str]:
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{file} is not a valid file")
    return file.read_text().strip().splitlines()


def _unique(packages: list[str]) -> list[str]:
    return list(dict.fromkeys(packages))


def _check_conda(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    if not isinstance(value, str):
        raise TypeError(f"runtime_env['conda'] must be of type str or dict, got {type(value)}.")
    file = Path(value).expanduser()
    if file.suffix not in (".yaml", ".yml"):
        return value  # the name of an environment, or its path
    if not file.is_file():
        raise ValueError(f"Can't find conda YAML file {file}.")
    import yaml

    return yaml.safe_load(file.read_text())


def _check_excludes(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(p, str) for p in value):
        raise TypeError(f"runtime_env['excludes'] must be of type List[str], got {type(value)}")
    return value


_CHECKS: dict[str, Callable[[Any], Any]] = {
    "env_vars": _check_env_vars,
    "working_dir": _check_working_dir,
    "py_modules": _check_py_modules,
    "pip": _check_pip,
    "uv": _check_uv,
    "conda": _check_conda,
    "excludes": _check_excludes,
    "config": RuntimeEnvConfig.parse_and_validate_runtime_env_config,
}
