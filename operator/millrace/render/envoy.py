"""Small pieces of Envoy's configuration, as plain dictionaries."""

from __future__ import annotations

from typing import Any

import yaml

TYPE = "type.googleapis.com/"
# libyaml writes the same text many times faster; PyYAML is not always built with it.
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def http_options(idle_timeout: str) -> dict[str, Any]:
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        name: {
            "@type": TYPE + name,
            "common_http_protocol_options": {"idle_timeout": idle_timeout},
            "explicit_http_config": {"http_protocol_options": {}},
        }
    }


def extension(name: str, message: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{TYPE}envoy.extensions.{message}", **values}}


def watched(config_dir: str, file: str) -> dict[str, Any]:
    return {
        "resource_api_version": "V3",
        "path_config_source": {
            "path": f"{config_dir}/{file}",
            # A ConfigMap is replaced by renaming the symlink `..data` in this directory.
            "watched_directory": {"path": config_dir},
        },
    }


def discovery(version: str, resources: list[dict[str, Any]]) -> str:
    return text({"version_info": version, "resources": resources})


def answer(match: dict[str, Any], status: int, body: str) -> dict[str, Any]:
    return {"match": match, "direct_response": {"status": status, "body": {"inline_string": body}}}


def get(path: str) -> dict[str, Any]:
    return {"path": path, "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]}


def address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def seconds(value: float) -> str:
    return f"{value:g}s"


def text(value: dict[str, Any]) -> str:
    written: str = yaml.dump(value, Dumper=DUMPER, sort_keys=False, width=120)
    return written
