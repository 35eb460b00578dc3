//! What workloads would run becomes findings: settings that aren't there, before a pod asks for them in vain.

use std::collections::BTreeSet;

use serde_json::json;

use super::super::lean::PodSpec;
use super::super::seen::Seen;
use super::{Fault, meant};
use crate::incident::{Category, Cause, Finding, Severity};

pub(super) fn analyze(seen: &Seen) -> Vec<Finding> {
    let templates = seen.objects.templates(seen.namespace);
    let missing = templates.filter_map(|(owner, template)| {
        let wanted = config_maps(template.spec.as_ref()?);
        let known = &seen.objects.config_maps;
        let wrong = wanted.into_iter().find(|name| !known.contains_key(*name))?;
        let right = meant(wrong, known.keys().map(String::as_str));
        let app = &owner.name;
        let fault = Fault {
            cause: Cause::ConfigMapMissing,
            category: Category::Configuration,
            severity: Severity::High,
            title: format!("The settings of {app} are not there"),
            description: format!(
                "{app} reads the settings {wrong}, and there are none of that name, so its copies can't start. Those that run already can't be started again."
            ),
        };
        let facts = json!({ "wrong": wrong, "right": right });
        Some(fault.of(seen, owner, "", facts))
    });
    missing.collect()
}

/// The ConfigMaps that a pod can't start without.
fn config_maps(spec: &PodSpec) -> BTreeSet<&str> {
    let whole = spec
        .all_containers()
        .flat_map(|container| container.env_from.iter().flatten());
    let whole = whole.filter_map(|from| from.config_map_ref.as_ref());
    let whole = whole
        .filter(|from| from.optional != Some(true))
        .map(|from| from.name.as_str());
    let keys = spec
        .all_containers()
        .flat_map(|container| container.env.iter().flatten());
    let keys =
        keys.filter_map(|variable| variable.value_from.as_ref()?.config_map_key_ref.as_ref());
    let keys = keys
        .filter(|key| key.optional != Some(true))
        .map(|key| key.name.as_str());
    let volumes = spec.volumes.iter().flatten();
    let volumes = volumes.filter_map(|volume| volume.config_map.as_ref());
    let volumes = volumes
        .filter(|map| map.optional != Some(true))
        .map(|map| map.name.as_str());
    whole
        .chain(keys)
        .chain(volumes)
        .filter(|name| !name.is_empty())
        .collect()
}
