"""RuntimeEnv and its config: what is taken, what is refused, and how it is written down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import zipfile

import pytest
from conftest import NAME


@pytest.fixture
def program(tmp_path):
    """``program(text)`` runs a program of its own, in an empty folder, and returns what it printed."""

    def run(text):
        file = tmp_path / "program.py"
        file.write_text(f"import os, sys\nimport {NAME} as ray\n{textwrap.dedent(text)}")
        done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, cwd=tmp_path, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def env(load):
    return load("runtime_env").RuntimeEnv


@pytest.fixture(scope="module")
def config(load):
    return load("runtime_env").RuntimeEnvConfig


def fields(env):
    return {k: v for k, v in env.to_dict().items() if not k.startswith("_ray")}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, {}),
        ({"env_vars": {"A": "1"}}, {"env_vars": {"A": "1"}}),
        ({"env_vars": {}, "pip": []}, {}),
        ({"working_dir": "."}, {"working_dir": "."}),
        ({"working_dir": "s3://a/b.zip"}, {"working_dir": "s3://a/b.zip"}),
        ({"working_dir": "gcs://p.zip"}, {"working_dir": "gcs://p.zip"}),
        ({"py_modules": [".", "https://x/y.whl"]}, {"py_modules": [".", "https://x/y.whl"]}),
        ({"pip": ["a", "b", "a"]}, {"pip": {"packages": ["a", "b"], "pip_check": False}}),
        (
            {"pip": {"packages": ["a"], "pip_version": "==20"}},
            {"pip": {"packages": ["a"], "pip_version": "==20", "pip_check": False}},
        ),
        (
            {"uv": ["a"]},
            {"uv": {"packages": ["a"], "uv_check": False, "uv_pip_install_options": ["--no-cache"]}},
        ),
        (
            {"uv": {"packages": ["a"]}},
            {"uv": {"packages": ["a"], "uv_check": False, "uv_pip_install_options": ["--no-cache"]}},
        ),
        ({"conda": "name"}, {"conda": "name"}),
        ({"conda": {"dependencies": ["pip"]}}, {"conda": {"dependencies": ["pip"]}}),
        ({"image_uri": "x", "env_vars": {"A": "1"}}, {"image_uri": "x", "env_vars": {"A": "1"}}),
        (
            {"config": {"setup_timeout_seconds": -1}},
            {"config": {"setup_timeout_seconds": -1, "eager_install": True, "log_files": []}},
        ),
        ({"plugin": {"a": 1}}, {"plugin": {"a": 1}}),
    ],
)
def test_what_is_taken(env, given, kept):
    assert fields(env(**given)) == kept


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"env_vars": {"A": 1}}, TypeError, "the value 1 is of type"),
        ({"env_vars": {1: "A"}}, TypeError, "the key 1 is of type"),
        ({"env_vars": [1]}, TypeError, "Dict\\[str, str\\], got"),
        ({"working_dir": 3}, TypeError, "must be a string"),
        ({"working_dir": "s3://a/b"}, ValueError, "Only .zip"),
        ({"working_dir": "foo://a"}, ValueError, "not a valid URI"),
        ({"working_dir": "/no/such"}, ValueError, "not a valid path"),
        ({"py_modules": "x"}, TypeError, "must be a list"),
        ({"py_modules": ["/no"]}, ValueError, "not a valid path"),
        ({"py_modules": [3]}, TypeError, "must be a string"),
        ({"pip": 3}, TypeError, "str or List\\[str\\]"),
        ({"pip": "/no.txt"}, ValueError, "not a valid file"),
        ({"pip": {"packages": ["a"], "x": 1}}, ValueError, "can only have these fields"),
        ({"pip": {"pip_check": True}}, ValueError, "must include field 'packages'"),
        ({"pip": {"packages": ["a"], "pip_check": "x"}}, TypeError, "must be of type bool"),
        ({"pip": {"packages": ["a"], "pip_version": 3}}, TypeError, "must be of type str"),
        ({"uv": 3}, TypeError, "List\\[str\\], or dict"),
        ({"uv": {"packages": 3}}, ValueError, "must be of type list"),
        ({"pip": ["a"], "conda": "x"}, ValueError, "cannot be specified at the same time"),
        ({"pip": ["a"], "uv": ["b"]}, ValueError, "cannot be specified at the same time"),
        ({"conda": 3}, TypeError, "str or dict"),
        ({"conda": "no.yaml"}, ValueError, "Can't find conda YAML"),
        ({"container": {"image": "x"}, "pip": ["a"]}, ValueError, "'container' field"),
        ({"image_uri": "x", "pip": ["a"]}, ValueError, "'image_uri' field"),
        ({"excludes": "a"}, TypeError, "List\\[str\\]"),
        ({"config": 3}, TypeError, "dict or RuntimeEnvConfig"),
        ({"config": {"setup_timeout_seconds": 0}}, ValueError, "greater than zero"),
        ({"config": {"setup_timeout_seconds": "a"}}, TypeError, "of type int"),
        ({"config": {"eager_install": "x"}}, TypeError, "boolean"),
        ({"config": {"log_files": [1]}}, TypeError, "must be a string"),
    ],
)
def test_what_is_refused(env, given, error, text):
    with pytest.raises(error, match=text):
        env(**given)


def test_files_are_read(env, tmp_path):
    (tmp_path / "r.txt").write_text("a\nb\n")
    (tmp_path / "e.yaml").write_text("dependencies: [pip]\n")
    assert env(pip=str(tmp_path / "r.txt"))["pip"]["packages"] == ["a", "b"]
    assert env(conda=str(tmp_path / "e.yaml"))["conda"] == {"dependencies": ["pip"]}


def test_json_is_canonical_and_comes_back(env):
    one = env(env_vars={"B": "1", "A": "2"}, config={"setup_timeout_seconds": 5})
    two = env(config={"setup_timeout_seconds": 5}, env_vars={"A": "2", "B": "1"})
    assert one.serialize() == two.serialize()
    assert json.loads(one.serialize())["env_vars"] == {"A": "2", "B": "1"}
    assert env.deserialize(one.serialize()) == one


def test_setting_a_field_checks_it(env):
    e = env(env_vars={"A": "1"})
    e["working_dir"] = "s3://a/b.zip"
    assert e.get("working_dir") == "s3://a/b.zip" and e.has_working_dir()
    with pytest.raises(TypeError):
        e["env_vars"] = {"A": 1}
    assert e.env_vars() == {"A": "1"} and e.get("none", "d") == "d"


def test_config_is_an_object(env, config):
    c = env(config={"log_files": ["a"]}).get("config")
    assert isinstance(c, config)
    assert c.to_dict() == {"setup_timeout_seconds": 600, "eager_install": True, "log_files": ["a"]}
    assert config.default_config() == config()


# With a node.


def vars_of(*names):
    return [os.environ.get(n) for n in names]


def test_variables_are_seen_by_the_task_and_by_no_other(ray):
    plain = ray.remote(vars_of)
    given = plain.options(runtime_env={"env_vars": {"WEFT_T1": "a", "WEFT_T2": "<${WEFT_T1}${WEFT_NONE}>"}})
    assert ray.get([plain.remote("WEFT_T1"), given.remote("WEFT_T1", "WEFT_T2"), plain.remote("WEFT_T1")]) == [[None], ["a", "<a>"], [None]]


def test_children_inherit_and_add(ray):
    plain = ray.remote(vars_of)

    @ray.remote(num_cpus=0, runtime_env={"env_vars": {"WEFT_P": "p", "WEFT_Q": "q"}})
    def parent():
        mine = plain.options(runtime_env={"env_vars": {"WEFT_Q": "c"}})
        return ray.get([plain.remote("WEFT_P", "WEFT_Q"), mine.remote("WEFT_P", "WEFT_Q")])

    assert ray.get(parent.remote()) == [["p", "q"], ["p", "c"]]


def test_an_actor_has_its_environment(ray):
    @ray.remote(runtime_env={"env_vars": {"WEFT_A": "1"}})
    class Actor:
        def look(self):
            context = ray.get_runtime_context()
            return os.environ["WEFT_A"], context.runtime_env["env_vars"], type(context.runtime_env).__name__

    actor = Actor.remote()
    assert ray.get(actor.look.remote()) == ("1", {"WEFT_A": "1"}, "RuntimeEnv")


def test_the_jobs_environment(program):
    out = program("""
        ray.init(num_cpus=1, runtime_env={"env_vars": {"WEFT_J": "j", "WEFT_K": "k"}})
        look = ray.remote(lambda: (os.environ.get("WEFT_J"), os.environ.get("WEFT_K")))
        print(ray.get(look.remote()), ray.get(look.options(runtime_env={"env_vars": {"WEFT_K": "t"}}).remote()))
        print(ray.get_runtime_context().runtime_env["env_vars"])
    """)
    assert out.splitlines() == ["('j', 'k') ('j', 't')", "{'WEFT_J': 'j', 'WEFT_K': 'k'}"]


@pytest.fixture
def project(tmp_path):
    """A folder with a module and some files."""
    root = tmp_path / "project"
    (root / "data" / "big").mkdir(parents=True)
    (root / "data" / "a.txt").write_text("a")
    (root / "data" / "big" / "b.bin").write_text("b")
    (root / "weft_t_helper.py").write_text("NAME = 'helper'\n")
    (root / "notes.log").write_text("log")
    (root / ".gitignore").write_text("*.log\n")
    return root


@pytest.fixture
def module(tmp_path):
    """A folder that is a package, weft_t_mod."""
    root = tmp_path / "lib" / "weft_t_mod"
    root.mkdir(parents=True)
    (root / "__init__.py").write_text("from weft_t_mod.part import VALUE\n")
    (root / "part.py").write_text("VALUE = 7\n")
    return root


def make_wheel(folder, name, version="1.0", body="VALUE = 'wheel'\n"):
    """A wheel with one module, made without any tool."""
    file = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as z:
        z.writestr(f"{name}.py", body)
        z.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return file


def test_a_working_dir_and_modules(program, project, module):
    out = program(f"""
        ray.init(num_cpus=1, runtime_env={{"working_dir": {str(project)!r}, "py_modules": [{str(module)!r}], "excludes": ["data/big"]}})

        @ray.remote
        def look():
            import weft_t_helper, weft_t_mod
            return weft_t_helper.NAME, weft_t_mod.VALUE, open("data/a.txt").read()

        @ray.remote
        def files():
            return sorted(os.path.relpath(os.path.join(d, f), ".") for d, _, fs in os.walk(".") for f in fs if "__pycache__" not in d)

        print(ray.get(look.remote()))
        print(ray.get(files.remote()))
        print(ray.get(ray.remote(lambda: ray.get(look.remote())).options(num_cpus=0).remote()))
        inherits = "import subprocess, sys; subprocess.check_call([sys.executable, '-c', 'import weft_t_mod'])"
        print(ray.get(ray.remote(lambda: exec(inherits)).remote()))
    """)
    same = "('helper', 7, 'a')"
    assert out.splitlines() == [same, str([".gitignore", "data/a.txt", "weft_t_helper.py"]), same, "None"]


def test_archives_by_uri(ray, tmp_path):
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr("top/weft_t_zipped.py", "VALUE = 3\n")
        z.writestr("top/data.txt", "zipped")

    @ray.remote
    def look():
        import weft_t_zipped

        return weft_t_zipped.VALUE, open("data.txt").read()

    assert ray.get(look.options(runtime_env={"working_dir": f"file://{archive}"}).remote()) == (3, "zipped")


def test_packages_of_pip(ray, tmp_path):
    wheel = make_wheel(tmp_path, "weft_t_pip")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"--no-index\n{wheel}\n")

    @ray.remote
    def look():
        import weft_t_pip

        return weft_t_pip.VALUE, sys.prefix == os.environ["VIRTUAL_ENV"]

    assert ray.get(look.options(runtime_env={"pip": str(requirements)}).remote()) == ("wheel", True)
    with pytest.raises(ImportError):
        ray.get(look.remote())


def test_packages_that_cannot_be_had(ray):
    @ray.remote(runtime_env={"pip": ["--no-index", "weft-t-no-such-package==1"]})
    class Actor:
        def f(self):
            pass

    bad = ray.remote(lambda: 1).options(runtime_env={"pip": ["--no-index", "weft-t-no-such-package==1"]})
    good = ray.remote(lambda: 1)
    with pytest.raises(ray.exceptions.RuntimeEnvSetupError, match="No matching distribution found for weft-t-no-such-package==1"):
        ray.get(bad.remote())
    with pytest.raises(ray.exceptions.RuntimeEnvSetupError, match="weft-t-no-such-package"):
        ray.get(Actor.remote().f.remote())
    assert ray.get(good.remote()) == 1


def test_a_hook_runs_first(program):
    out = program("""
        def hook():
            os.environ["WEFT_T_HOOK"] = "ran"

        ray.init(num_cpus=1, runtime_env={"worker_process_setup_hook": hook})
        print(ray.get(ray.remote(lambda: os.environ["WEFT_T_HOOK"]).remote()))
    """)
    assert out == "ran\n"
