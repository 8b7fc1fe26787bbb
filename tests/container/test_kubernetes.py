"""The Kubernetes base: valid by the schemas of a release, and its parts fit each other, the image and the settings."""

import json

import kubernetes_validate
import pytest
import yaml

KUBERNETES = ["configmap.yaml", "poddisruptionbudget.yaml", "service.yaml", "statefulset.yaml", "secret.example.yaml"]


def kubernetes_resources(repository):
    for name in KUBERNETES:
        yield from yaml.safe_load_all((repository / "deploy/kubernetes" / name).read_text())


@pytest.fixture(scope="module")
def resources(repository):
    """By kind and name."""
    return {(one["kind"], one["metadata"]["name"]): one for one in kubernetes_resources(repository)}


def test_kubernetes_resources_are_valid(resources):
    for resource in resources.values():
        kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)


def test_the_schemas_find_what_is_wrong(resources):
    wrong = json.loads(json.dumps(resources["StatefulSet", "sutra-cache"]))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenessProbes"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_the_base_names_its_files_and_only_the_example_is_not_of_it(repository):
    base = yaml.safe_load((repository / "deploy/kubernetes/kustomization.yaml").read_text())
    assert sorted([*base["resources"], "secret.example.yaml"]) == sorted(KUBERNETES)
    there = {path.name for path in (repository / "deploy/kubernetes").iterdir()}
    assert there == {*KUBERNETES, "kustomization.yaml"}


def test_kubernetes_resources_fit_each_other_and_the_image(resources, image, settings):
    stateful = resources["StatefulSet", "sutra-cache"]["spec"]
    pod = stateful["template"]["spec"]
    (only,) = pod["containers"]
    labels = stateful["template"]["metadata"]["labels"].items()
    assert ("Service", stateful["serviceName"]) in resources
    assert resources["Service", stateful["serviceName"]]["spec"]["clusterIP"] == "None"
    ports = {port["name"]: port["containerPort"] for port in only["ports"]}
    assert {f"{port}/tcp" for port in ports.values()} == set(image.configuration["ExposedPorts"])
    for (kind, name), resource in resources.items():
        if kind == "Service":
            assert resource["spec"]["selector"].items() <= labels, name
            assert {port["targetPort"] for port in resource["spec"]["ports"]} == set(ports)
    assert stateful["selector"]["matchLabels"].items() <= labels
    assert resources["PodDisruptionBudget", "sutra-cache"]["spec"]["selector"]["matchLabels"].items() <= labels
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert only[probe]["httpGet"]["port"] in ports
        assert only[probe]["httpGet"]["path"] in {"/health", "/ready"}
    volumes = {volume["name"] for volume in pod["volumes"]}
    claims = {claim["metadata"]["name"] for claim in stateful["volumeClaimTemplates"]}
    assert {mount["name"] for mount in only["volumeMounts"]} == volumes | claims
    user, group = image.configuration["User"].split(":")
    assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["fsGroup"]) == (int(user), int(group))
    assert only["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["terminationGracePeriodSeconds"] > 10
    (secret,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert set(resources["Secret", secret["secretName"]]["stringData"]) == {item["key"] for item in secret["items"]}
    configuration = resources["ConfigMap", only["envFrom"][0]["configMapRef"]["name"]]["data"]
    assert configuration.keys() | {variable["name"] for variable in only["env"]} <= settings
    assert set(image.environment()) - {"PATH"} <= settings


def test_a_container_starts_with_the_settings_of_the_pod(resources, make_container, connect):
    (only,) = resources["StatefulSet", "sutra-cache"]["spec"]["template"]["spec"]["containers"]
    given = resources["ConfigMap", "sutra-cache"]["data"] | {one["name"]: one["value"] for one in only["env"]}
    # The secret is mounted elsewhere by the fixture.
    container = make_container(**given | {"SUTRA_PASSWORD_FILE": "/run/secrets/sutra_password", "LOG_FORMAT": "text"})
    container.start()
    assert connect().ping()
    assert not any("has no meaning here" in line for line in container.log)
