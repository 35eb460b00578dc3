//! Pods told apart by their labels: what a selector can mean, however many pods there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::lean::{Labels, Pod, PodSpec, Template};
use crate::incident::ObjectRef;

/// All pods that have the same labels, and what workloads would make with them.
#[derive(Default)]
pub(super) struct Shape {
    /// The workloads that they belong to.
    pub(super) owners: BTreeSet<ObjectRef>,
    /// The ports that their containers declare, with their names.
    pub(super) ports: BTreeSet<(i32, Option<String>)>,
    pub(super) pods: u32,
    pub(super) ready: u32,
}

/// Every set of labels that pods, or the templates of workloads, have.
#[derive(Default)]
pub(super) struct Shapes {
    shapes: Vec<(Labels, Shape)>,
    known: HashMap<Labels, usize>,
    by_label: BTreeMap<String, BTreeMap<String, Vec<usize>>>,
}

impl Shapes {
    pub(super) fn add_template(&mut self, owner: ObjectRef, template: &Template) {
        let labels = template.metadata.labels.clone().unwrap_or_default();
        let shape = self.shape(&labels);
        if let Some(shape) = shape {
            shape.owners.insert(owner);
            shape.declare(template.spec.as_ref());
        }
    }

    /// What a CronJob makes now and then.
    pub(super) fn add_labels(&mut self, owner: ObjectRef, labels: &Labels) {
        if let Some(shape) = self.shape(labels) {
            shape.owners.insert(owner);
        }
    }

    pub(super) fn add_pod(&mut self, owner: &ObjectRef, pod: &Pod, ready: bool) {
        let none = Labels::new();
        let Some(shape) = self.shape(pod.metadata.labels.as_ref().unwrap_or(&none)) else {
            return;
        };
        shape.pods += 1;
        shape.ready += u32::from(ready);
        if !shape.owners.contains(owner) {
            shape.owners.insert(owner.clone());
            shape.declare(pod.spec.as_deref());
        }
    }

    fn shape(&mut self, labels: &Labels) -> Option<&mut Shape> {
        let at = match self.known.get(labels) {
            Some(at) => *at,
            None => {
                let at = self.shapes.len();
                for (key, value) in labels {
                    let values = self.by_label.entry(key.clone()).or_default();
                    values.entry(value.clone()).or_default().push(at);
                }
                self.known.insert(labels.clone(), at);
                self.shapes.push((labels.clone(), Shape::default()));
                at
            }
        };
        self.shapes.get_mut(at).map(|(_, shape)| shape)
    }

    /// The shapes that have all these labels; all there are where none is asked for.
    pub(super) fn with<'a>(
        &'a self,
        wanted: &'a Labels,
    ) -> impl Iterator<Item = (&'a Labels, &'a Shape)> {
        let having = |(key, value): (&String, &String)| {
            self.by_label.get(key).and_then(|values| values.get(value))
        };
        // Only those with the rarest of the labels are looked at.
        let rarest = wanted
            .iter()
            .map(having)
            .min_by_key(|shapes| shapes.map_or(0, Vec::len));
        let some = rarest.map(|shapes| shapes.into_iter().flatten().copied());
        let all = rarest.is_none().then_some(0..self.shapes.len());
        some.into_iter()
            .flatten()
            .chain(all.into_iter().flatten())
            .filter_map(|at| self.shapes.get(at))
            .filter(|(labels, _)| has_all(labels, wanted))
            .map(|(labels, shape)| (labels, shape))
    }

    /// The shapes that a selector means.
    pub(super) fn selected<'a>(
        &'a self,
        selector: &'a LabelSelector,
        none: &'a Labels,
    ) -> impl Iterator<Item = (&'a Labels, &'a Shape)> {
        let shapes = self.with(selector.match_labels.as_ref().unwrap_or(none));
        shapes.filter(|(labels, _)| {
            let mut requirements = selector.match_expressions.iter().flatten();
            requirements.all(|requirement| meets(labels, requirement))
        })
    }
}

impl Shape {
    fn declare(&mut self, spec: Option<&PodSpec>) {
        let containers = spec.into_iter().flat_map(PodSpec::all_containers);
        let ports = containers.flat_map(|container| container.ports.iter().flatten());
        self.ports
            .extend(ports.map(|port| (port.container_port, port.name.clone())));
    }
}

pub(super) fn has_all(labels: &Labels, wanted: &Labels) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}

/// What isn't known is taken for met: then nothing is said about it.
fn meets(labels: &Labels, requirement: &LabelSelectorRequirement) -> bool {
    let value = labels.get(&requirement.key);
    let among = || {
        let values = requirement.values.as_deref().unwrap_or_default();
        value.is_some_and(|value| values.contains(value))
    };
    match requirement.operator.as_str() {
        "In" => among(),
        "NotIn" => !among(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => true,
    }
}
