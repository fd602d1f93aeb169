"""What belongs to a whole program: its configuration, its logging, its context, its timeline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest
from conftest import NAME


def run(program: str) -> str:
    """What a program prints that begins with ``import weft as ray``."""
    text = f"import {NAME} as ray\n" + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_the_context_of_actors_and_tasks(ray):
    here = ray.get_runtime_context()
    assert here.get_task_id() is None and here.get_actor_id() is None and here.get_task_name() is None
    assert here.job_id.hex() == here.get_job_id() and here.node_id.hex() == here.get_node_id()
    with pytest.raises(RuntimeError):
        _ = here.current_actor

    @ray.remote
    class Knows:
        def __init__(self):
            self.named = ray.get_runtime_context().get_actor_name()

        def me(self):
            context = ray.get_runtime_context()
            return context.current_actor, context.get_actor_name(), self.named, context.get_actor_id(), context.actor_id.hex()

        def other(self, me):
            return me == ray.get_runtime_context().current_actor

    a = Knows.options(name="knows").remote()
    me, name, named, actor, same = ray.get(a.me.remote())
    assert name == named == "knows" and me == a and actor == same == a._actor_id.hex()
    assert ray.get(me.other.remote(a))

    @ray.remote(num_cpus=0.5)
    def task():
        context = ray.get_runtime_context()
        return context.get_task_id() == context.task_id.hex(), context.get()["task_id"].hex(), context.get_assigned_resources()

    ref = task.options(name="asks").remote()
    assert ray.get(ref) == (True, ref.task_id().hex(), {"CPU": 0.5})
    assert here.get_node_labels()["ray.io/node-id"] == here.get_node_id()
    assert os.path.isdir(here.get_temp_dir()) and here.get_session_name().startswith("session_")
    assert here.current_placement_group_id.is_nil() and here.gcs_address


def test_the_timeline(ray, tmp_path):
    @ray.remote
    def seen():
        return 1

    assert ray.get([seen.options(name="seen-in-time").remote() for _ in range(3)]) == [1] * 3
    if NAME == "weft":  # Ray has it some seconds later, and only with RAY_PROFILING=1
        assert sum(e.get("name") == "seen-in-time" for e in ray.timeline()) == 3
    assert ray.timeline(str(tmp_path / "t.json")) is None
    assert isinstance(json.loads((tmp_path / "t.json").read_text()), list)


def test_settings_of_a_job():
    said = run(
        """
        from ray.job_config import JobConfig
        config = JobConfig(ray_namespace="place", default_actor_lifetime="detached", runtime_env={"env_vars": {"JOB": "yes"}})
        config.set_metadata("k", "v")
        with ray.init(num_cpus=1, job_config=config, include_dashboard=False, log_to_driver=False) as context:
            assert context.address_info["node_id"] and context.ray_version == ray.__version__
            @ray.remote(num_cpus=0)
            class A:
                def env(self):
                    import os
                    B = ray.remote(A_plain)
                    B.options(name="child").remote()
                    return os.environ["JOB"], ray.get_runtime_context().namespace
            class A_plain:
                pass
            a = A.options(name="parent").remote()
            print(ray.get(a.env.remote()))
            b = A.options(name="mortal", lifetime="non_detached").remote()
            ray.get(b.__ray_ready__.remote())
            del a, b
            while "mortal" in ray.util.list_named_actors():
                pass
            print(sorted(ray.util.list_named_actors()))
        assert not ray.is_initialized()
    """.replace("from ray.", f"from {NAME}.")
    )
    assert "('yes', 'place')" in said and "['child', 'parent']" in said


@pytest.mark.parametrize("encoding", ["TEXT", "JSON"])
def test_logging_of_a_job(encoding):
    said = run(f"""
        import logging
        config = ray.LoggingConfig(encoding="{encoding}", log_level="WARNING", additional_log_standard_attrs=["name"])
        ray.init(num_cpus=1, logging_config=config, include_dashboard=False)
        logging.getLogger("here").warning("from the driver")
        @ray.remote
        def logs():
            logging.getLogger("there").warning("from %s", "a task", extra=dict(more=7))
            logging.getLogger("there").info("not this")
            return ray.get_runtime_context().get_task_id()
        print("task", ray.get(logs.remote()))
        ray.shutdown()
    """)
    task = said.split("task ")[1].split()[0]
    line = next(x for x in said.splitlines() if "from a task" in x)
    assert task in line and "from the driver" in said and "not this" not in said
    if encoding == "JSON":
        fields = json.loads(line[line.index("{") :])
        assert fields["levelname"] == "WARNING" and fields["name"] == "there" and fields["more"] == 7 and fields["task_id"] == task
    else:
        assert "name=there" in line and "more=7" in line and f"task_id={task}" in line and "WARNING" in line


def test_wrong_settings(ray, load):
    with pytest.raises(ValueError, match="encoding"):
        ray.LoggingConfig(encoding="XML")
    with pytest.raises(ValueError, match="colour"):
        ray.LoggingConfig(additional_log_standard_attrs=["colour"])
    JobConfig = load("job_config").JobConfig
    with pytest.raises(ValueError, match="lifetime"):
        JobConfig(default_actor_lifetime="eternal")
    with pytest.raises(TypeError):
        JobConfig(code_search_path="/one")
    config = JobConfig.from_json({"runtime_env": {"env_vars": {"A": "1"}}, "ray_namespace": "n"})
    assert config.ray_namespace == "n" and config.runtime_env["env_vars"] == {"A": "1"}
