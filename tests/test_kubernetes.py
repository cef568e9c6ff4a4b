"""The launcher for Kubernetes: its manifests are of the schema, and say what they should."""

import pytest
import yaml
from kubeflow_trainer_api import models as kubernetes

CONFIG = "--config=configs/parts_clevrer.py:demo"
TPU = {"PLATFORM": "tpu", "NAME": "paper", "IMAGE": "registry/parts_jax:tpu", "HOSTS": "4",
       "WORKDIR": "gs://bucket/runs/1"}
GPU = {"PLATFORM": "gpu", "NAME": "paper", "IMAGE": "registry/parts_jax:cuda", "HOSTS": "2",
       "CLAIM": "shared", "WORKDIR": "runs/1"}


def without(settings: dict, name: str) -> dict:
    return {key: value for key, value in settings.items() if key != name}


@pytest.mark.parametrize("settings, message", [
    *((without(TPU, name), f"{name} is not set") for name in TPU),
    (without(GPU, "CLAIM"), "CLAIM is not set"),
    (TPU | {"PLATFORM": "cpu"}, "tpu or gpu; got 'cpu'"),
    (TPU | {"NAME": "My_run"}, "got 'My_run'"),
    (TPU | {"HOSTS": "0"}, "1 or more; got '0'"),
    (TPU | {"HOSTS": "010"}, "leading zeros, 1 or more; got '010'"),
    (TPU | {"WORKDIR": "/x"}, "gs://BUCKET/FOLDER; got '/x'"),
    (GPU | {"WORKDIR": "/x"}, "without a slash in front"),
    (GPU, "The command kubectl is not installed"),
])
def test_wrong_settings_are_refused_in_a_sentence(launch, settings, message):
    result = launch("kubernetes/launch.sh", CONFIG, **settings)
    assert (result.returncode, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ") and line.endswith(".") and message in line


def manifest(launch, settings: dict, *arguments: str) -> dict:
    result = launch("kubernetes/launch.sh", "--dry-run", CONFIG, *arguments, **settings)
    assert (result.returncode, result.stderr) == (0, "")
    [document] = yaml.safe_load_all(result.stdout)
    return document


def pod_of(document: dict) -> dict:
    return document["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("settings", [TPU, GPU], ids=["tpu", "gpu"])
def test_manifests_are_of_the_schema(launch, settings):
    """That of JobSet, Job and Pod, as generated from their Go types: no key or type but its own."""
    document = manifest(launch, settings)
    assert (document["apiVersion"], document["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    known = kubernetes.JobsetV1alpha2JobSet.from_dict(document)
    assert known.to_dict() == document  # keys that the schema does not have were left out


def test_the_schema_sees_wrong_keys_and_types(launch):
    document = manifest(launch, GPU)
    pod_of(document)["containers"][0]["resource"] = {}
    assert kubernetes.JobsetV1alpha2JobSet.from_dict(document).to_dict() != document
    document = manifest(launch, GPU)
    document["spec"]["replicatedJobs"][0]["template"]["spec"]["parallelism"] = "2"
    with pytest.raises(ValueError, match="parallelism"):
        kubernetes.JobsetV1alpha2JobSet.from_dict(document)


@pytest.mark.parametrize("settings", [TPU, GPU], ids=["tpu", "gpu"])
def test_a_set_starts_again_unless_a_setting_is_wrong(launch, settings):
    spec = manifest(launch, settings)["spec"]
    assert spec["failurePolicy"]["maxRestarts"] == 10
    [rule] = spec["failurePolicy"]["rules"]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])
    job = spec["replicatedJobs"][0]["template"]["spec"]
    assert job["backoffLimit"] == 0 and job["template"]["spec"]["restartPolicy"] == "Never"
    assert job["completions"] == job["parallelism"] == int(settings["HOSTS"])
    codes = [rule["onExitCodes"] for rule in job["podFailurePolicy"]["rules"]
             if rule["action"] == "FailJob"]
    assert codes == [{"containerName": "train", "operator": "In", "values": [2]}]


def test_arguments_arrive_as_given(launch):
    odd = '--config.x=("a", "b \\ $(HOME) & ${NAME}")'
    [container] = pod_of(manifest(launch, GPU, odd))["containers"]
    assert container["args"] == [
        CONFIG, odd.replace("$", "$$"), "--workdir=/workdirs/runs/1",
        "--coordinator_address=paper-workers-0-0.paper:12355", "--num_processes=2",
        "--process_id=$(PROCESS_ID)"]
    [container] = pod_of(manifest(launch, TPU))["containers"]
    assert container["args"] == [CONFIG, "--workdir=/workdirs/runs/1"]


def test_the_volumes_are_those_named(launch):
    tpu, gpu = (pod_of(manifest(launch, settings)) for settings in (TPU, GPU))
    assert tpu["volumes"][0]["csi"]["volumeAttributes"]["bucketName"] == "bucket"
    assert gpu["volumes"][0]["persistentVolumeClaim"]["claimName"] == "shared"
    for spec in (tpu, gpu):
        names = {volume["name"] for volume in spec["volumes"]}
        assert {mount["name"] for mount in spec["containers"][0]["volumeMounts"]} == names
