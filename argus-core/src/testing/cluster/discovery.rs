//! What kubectl asks to learn which resources there are.

use serde_json::{Map, Value, json};

use super::resources::{RESOURCES, Resource};

/// What kubectl asks to learn which resources there are.
pub(super) fn discovery(path: &str) -> Option<Value> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let groups: Vec<&Resource> = RESOURCES.iter().fold(Vec::new(), |mut groups, resource| {
        if !resource.group.is_empty()
            && !groups
                .iter()
                .any(|known: &&Resource| known.group == resource.group)
        {
            groups.push(resource);
        }
        groups
    });
    match parts.as_slice() {
        ["version"] => Some(
            json!({ "major": "1", "minor": "36", "gitVersion": "v1.36.0-argus-in-memory", "platform": "memory" }),
        ),
        ["api"] => Some(json!({ "kind": "APIVersions", "versions": ["v1"] })),
        ["apis"] => {
            let versions = |resource: &Resource| json!({ "groupVersion": resource.api_version(), "version": resource.version });
            let group = |resource: &&Resource| json!({ "name": resource.group, "versions": [versions(resource)], "preferredVersion": versions(resource) });
            Some(
                json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups.iter().map(group).collect::<Vec<_>>() }),
            )
        }
        ["api", version] => resource_list("", version),
        ["apis", group, version] => resource_list(group, version),
        _ => None,
    }
}

fn resource_list(group: &str, version: &str) -> Option<Value> {
    const VERBS: [&str; 7] = [
        "create", "delete", "get", "list", "patch", "update", "watch",
    ];
    let mine: Vec<&Resource> = RESOURCES
        .iter()
        .filter(|resource| resource.group == group && resource.version == version)
        .collect();
    let group_version = mine.first()?.api_version();
    let entry = |resource: &&Resource| {
        let mut entry = Map::new();
        entry.insert("name".into(), resource.plural.into());
        entry.insert(
            "singularName".into(),
            resource.kind.to_ascii_lowercase().into(),
        );
        entry.insert("namespaced".into(), resource.namespaced.into());
        entry.insert("kind".into(), resource.kind.into());
        entry.insert("verbs".into(), VERBS.to_vec().into());
        entry.insert("shortNames".into(), resource.short.to_vec().into());
        Value::Object(entry)
    };
    let mut entries: Vec<Value> = mine.iter().map(entry).collect();
    entries.extend(mine.iter().filter(|resource| resource.scalable()).map(|resource| {
        json!({ "name": format!("{}/scale", resource.plural), "singularName": "", "namespaced": true, "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"] })
    }));
    Some(
        json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries }),
    )
}
