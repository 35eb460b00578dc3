//! The table of allowed changes becomes a second lock in the API server: admission policies for Argus' own account, so that
//! even somebody who has its token can do no more than the table says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::rbac::{REMEDIATOR, Roles, yaml};
use crate::action::{AllowedChange, AllowedValues, Kind};
use crate::names::{DnsLabel, DnsSubdomain, NameError};

const VERSION: &str = "admissionregistration.k8s.io/v1";

impl Roles {
    /// The ValidatingAdmissionPolicies and their bindings for a service account that has these roles, as objects to apply.
    ///
    /// # Guarantees
    /// Whoever acts as this account changes nothing but fields of the table of [allowed changes](AllowedChange), in the
    /// namespaces of the scope, and deletes only pods that something makes again. What a change rests on besides (that a
    /// ConfigMap is there, how many nodes take the app) is for Argus to judge: the API server looks at the object alone. So
    /// what can't be judged without it is refused here altogether: selectors of Services, and fields that only an earlier revision
    /// explains. Elements of lists keep their order. Tested on a real API server with the account's token. It takes Kubernetes 1.33
    /// or later, whose expressions know the places of a list.
    ///
    /// With these, undoing what Argus did may be left to people: an app that was scaled to zero isn't scaled to zero again.
    ///
    /// # Errors
    /// [`NameError`] for what can't be the name of a namespace or a service account.
    ///
    /// # Example
    /// ```
    /// use argus_core::{Roles, Scope};
    /// let policies = Roles::new(&Scope::namespaces(["shop"])?).admission("tools", "argus")?;
    /// assert!(policies.iter().any(|object| object["kind"] == "ValidatingAdmissionPolicy"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn admission(&self, namespace: &str, account: &str) -> Result<Vec<Value>, NameError> {
        let (namespace, account) = (DnsLabel::new(namespace)?, DnsSubdomain::new(account)?);
        let user = format!("system:serviceaccount:{namespace}:{account}");
        let prefix = format!("{REMEDIATOR}.{namespace}.{account}");
        let mut objects = Vec::new();
        let mut policy = |name: &str, constraints: Value, validations: Vec<(String, &str)>| {
            let name = format!("{prefix}.{name}");
            let rules = validations.into_iter().map(
                |(expression, message)| json!({ "expression": expression, "message": message }),
            );
            objects.push(json!({ "apiVersion": VERSION, "kind": "ValidatingAdmissionPolicy", "metadata": { "name": name }, "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": constraints,
                "matchConditions": [{ "name": "account", "expression": format!("request.userInfo.username == {}", cel(&user)) }],
                "validations": rules.collect::<Vec<_>>() } }));
            objects.push(json!({ "apiVersion": VERSION, "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": name },
                "spec": { "policyName": name, "validationActions": ["Deny"] } }));
        };
        let in_scope = || {
            let spaces: Vec<String> = self.namespaces().map(cel).collect();
            let expression = format!("request.namespace in [{}]", spaces.join(", "));
            (expression, "Argus may not work in this namespace")
        };
        let rule = |group: &str, resource: &str, operation: &str| json!({ "apiGroups": [group], "apiVersions": ["*"], "operations": [operation], "resources": [resource] });
        let mut known = Vec::new();
        for kind in self.kinds() {
            let (group, plural) = (kind.group(), kind.plural());
            if kind == Kind::Pod {
                known.push(rule(group, plural, "DELETE"));
                let made_again = "has(oldObject.metadata.ownerReferences) && oldObject.metadata.ownerReferences.exists(owner, \
                     has(owner.controller) && owner.controller)";
                let gently = "!has(request.options.gracePeriodSeconds) || request.options.gracePeriodSeconds > 0";
                let constraints = json!({ "resourceRules": [rule(group, plural, "DELETE")] });
                let validations = vec![
                    in_scope(),
                    (
                        made_again.into(),
                        "Argus deletes only pods that something makes again",
                    ),
                    (gently.into(), "Argus lets a pod the time to stop"),
                ];
                policy(plural, constraints, validations);
                continue;
            }
            known.push(rule(group, plural, "UPDATE"));
            let constraints = json!({ "resourceRules": [rule(group, plural, "UPDATE")] });
            let listed = (
                only_listed(kind),
                "Argus changes only what the table of allowed changes lists",
            );
            policy(plural, constraints, vec![in_scope(), listed]);
            if matches!(kind, Kind::Deployment | Kind::StatefulSet) {
                let scale = format!("{plural}/scale");
                known.push(rule(group, &scale, "UPDATE"));
                let constraints = json!({ "resourceRules": [rule(group, &scale, "UPDATE")] });
                let copies = "object.spec.replicas >= 1 && object.spec.replicas <= 1000";
                let mut validations = vec![
                    in_scope(),
                    (copies.to_owned(), "Argus runs from 1 to 1000 copies"),
                ];
                if kind == Kind::StatefulSet {
                    // A Scale doesn't say whether storage goes with the copies.
                    let more = "object.spec.replicas >= oldObject.spec.replicas";
                    validations.push((more.into(), "Argus takes no copy of a StatefulSet away"));
                }
                policy(&format!("{plural}-scale"), constraints, validations);
            }
        }
        let everything = json!({ "apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"] });
        let constraints = json!({ "resourceRules": [everything], "excludeResourceRules": known });
        let nothing = ("false".to_owned(), "Argus changes nothing of this kind");
        policy("nothing-else", constraints, vec![nothing]);
        Ok(objects)
    }
}

impl Roles {
    /// The same as YAML for `kubectl apply -f -`.
    ///
    /// # Errors
    /// [`NameError`] for what can't be the name of a namespace or a service account.
    pub fn admission_yaml(&self, namespace: &str, account: &str) -> Result<String, NameError> {
        Ok(yaml(&self.admission(namespace, account)?))
    }
}

/// The fields of a kind that the table lists, as a tree.
#[derive(Default)]
struct Listed {
    values: Option<AllowedValues>,
    /// Fields, and keys of maps.
    fields: BTreeMap<String, Listed>,
    /// Every element of a list, or every key of a map.
    each: Option<Box<Listed>>,
    /// Everything below.
    whole: bool,
}

impl Listed {
    fn insert(&mut self, parts: &[&str], values: AllowedValues) {
        match parts {
            [] => self.values = Some(values),
            ["**", ..] => {
                self.whole = true;
                self.values = Some(values);
            }
            ["*", rest @ ..] => self
                .each
                .get_or_insert_with(Box::default)
                .insert(rest, values),
            [names, rest @ ..] => {
                for name in names.split('|') {
                    let name = name.trim().replace("~1", "/").replace("~0", "~");
                    self.fields.entry(name).or_default().insert(rest, values);
                }
            }
        }
    }
}

/// The condition that only listed fields differ between `object` and `oldObject`, and have the values that the table says.
fn only_listed(kind: Kind) -> String {
    let mut root = Listed::default();
    for row in AllowedChange::ALL
        .iter()
        .filter(|row| row.kinds.contains(&kind))
    {
        let judged_elsewhere = matches!(
            row.values,
            AllowedValues::EarlierValue | AllowedValues::Selector
        );
        if !judged_elsewhere {
            let pointer = row.pointer(kind);
            let parts: Vec<&str> = pointer.split('/').skip(1).collect();
            root.insert(&parts, row.values);
        }
    }
    // What the API server sets itself.
    for pointer in [
        "status/**",
        "metadata/resourceVersion",
        "metadata/generation",
        "metadata/managedFields/**",
        "metadata/annotations/deprecated.daemonset.template.generation",
    ] {
        root.insert(&pointer.split('/').collect::<Vec<_>>(), AllowedValues::Word);
    }
    bind(0, "dyn(object)", "dyn(oldObject)", |new, old| {
        fields(&root, 1, new, old)
    })
}

/// Names two values, so that they stand in the expression once.
fn bind(
    depth: usize,
    new: &str,
    old: &str,
    expression: impl FnOnce(&str, &str) -> String,
) -> String {
    let names = [format!("a{depth}"), format!("b{depth}")];
    let [a, b] = &names;
    let inner = expression(a, b);
    format!("[{new}].all({a}, [{old}].all({b}, {inner}))")
}

/// The condition that two maps differ only in listed fields.
fn fields(listed: &Listed, depth: usize, new: &str, old: &str) -> String {
    let names: BTreeSet<String> = listed.fields.keys().map(|name| cel(name)).collect();
    let names: Vec<String> = names.into_iter().collect();
    let names = names.join(", ");
    let mut all = vec![
        format!("{new}.all(k, k in [{names}] || (k in {old} && {new}[k] == {old}[k]))"),
        format!("{old}.all(k, k in [{names}] || k in {new})"),
    ];
    for (name, child) in &listed.fields {
        let name = cel(name);
        let same = format!(
            "(({name} in {new}) == ({name} in {old}) && (!({name} in {new}) || {new}[{name}] == {old}[{name}]))"
        );
        let part = |map: &str, empty: &str| format!("({name} in {map} ? {map}[{name}] : {empty})");
        let otherwise = if child.whole {
            whole(child, &part(new, "[]"), &part(old, "[]"))
        } else if let Some(each) = &child.each {
            if each.fields.is_empty() {
                // Keys of a map, with any value.
                continue;
            }
            bind(depth, &part(new, "[]"), &part(old, "[]"), |new, old| {
                // By their place: the order counts too, and no element may stand twice.
                let names = [
                    format!("i{depth}"),
                    format!("x{depth}"),
                    format!("y{depth}"),
                ];
                let [i, x, y] = &names;
                let differ = fields(each, depth + 1, x, y);
                format!(
                    "size({new}) == size({old}) && {new}.all({i}, {x}, [{old}[{i}]].all({y}, {x} == {y} || ({differ})))"
                )
            })
        } else if let Some(values) = child.values {
            value(values, &name, new, old)
        } else {
            bind(depth, &part(new, "{}"), &part(old, "{}"), |new, old| {
                fields(child, depth + 1, new, old)
            })
        };
        if otherwise != "true" {
            all.push(format!("({same} || {otherwise})"));
        }
    }
    all.join(" && ")
}

/// A part that may differ as a whole.
fn whole(listed: &Listed, new: &str, old: &str) -> String {
    match listed.values {
        Some(AllowedValues::NamedToleration) => format!(
            "{new}.all(x, {old}.exists(y, x == y) || ('key' in x && x.key != '' && !x.key.startsWith('node.kubernetes.io/') \
             && !x.key.startsWith('node-role.kubernetes.io/')))"
        ),
        Some(AllowedValues::NothingRequired) => {
            let required = "'requiredDuringSchedulingIgnoredDuringExecution'";
            format!(
                "({new} == [] || !({required} in {new}) || ({old} != [] && {required} in {old} && {new}[{required}] == {old}[{required}]))"
            )
        }
        _ => "true".into(),
    }
}

/// The condition that a field that differs has one of the values of the table, as far as the object itself says.
fn value(values: AllowedValues, name: &str, new: &str, old: &str) -> String {
    let there = format!("{name} in {new}");
    let is = format!("{new}[{name}]");
    let was = format!("({name} in {old} ? {old}[{name}] : 0)");
    match values {
        AllowedValues::Copies => {
            let keeps = "!has(object.spec.persistentVolumeClaimRetentionPolicy) \
                 || object.spec.persistentVolumeClaimRetentionPolicy.whenScaled != 'Delete'";
            format!("({there} && {is} >= 1 && {is} <= 1000 && ({is} >= {was} || {keeps}))")
        }
        AllowedValues::CopiesOfAutoscaler => format!(
            "({there} && {is} >= 1 && {is} <= 1000 && ({is} >= {was} || (has(oldObject.status) && has(oldObject.status.currentReplicas) \
             && {is} >= oldObject.status.currentReplicas)))"
        ),
        AllowedValues::SameRepository => {
            let repository = |image: &str| format!("{image}.find('^([^@]*/)?[^:@/]*')");
            format!(
                "({there} && {name} in {old} && {} == {})",
                repository(&is),
                repository(&format!("{old}[{name}]"))
            )
        }
        AllowedValues::Path => format!("({there} && {is}.startsWith('/'))"),
        AllowedValues::Scheme => format!("({there} && {is} in ['HTTP', 'HTTPS'])"),
        AllowedValues::Times => format!("(!({there}) || ({is} >= 0 && {is} <= 3600))"),
        AllowedValues::Share => "true".into(),
        AllowedValues::False => format!("({there} && {is} == false)"),
        AllowedValues::Moment => {
            format!(
                "({there} && {is}.matches('^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9:.]+(Z|[+-][0-9:]+)$'))"
            )
        }
        _ => format!("({there})"),
    }
}

/// A text as CEL writes it.
fn cel(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
