//! The comparison of objects against a naive reader, and the undo against a naive model of fields by name.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::patch::patch;
use super::{Difference, Part, Restored, differences, keyed};

fn workload(containers: Value) -> Value {
    json!({ "spec": { "replicas": 1, "template": { "spec": { "containers": containers } } } })
}

fn app(memory: &str) -> Value {
    json!({ "name": "app", "resources": { "limits": { "memory": memory } } })
}

fn proxy(memory: &str) -> Value {
    json!({ "name": "proxy", "resources": { "limits": { "memory": memory } } })
}

/// What the undo makes of a live object, or the fields that are not ours; the patch has to make the same of it.
fn undone(before: &Value, after: &Value, live: &Value) -> Result<Value, Vec<String>> {
    let restored = Restored::new(before, after, live);
    if !restored.foreign.is_empty() {
        return Err(restored.foreign.iter().map(ToString::to_string).collect());
    }
    let operations = patch(live, &restored.object);
    let operations: json_patch::Patch = serde_json::from_value(operations.into()).unwrap();
    let mut patched = live.clone();
    json_patch::patch(&mut patched, &operations).unwrap();
    assert_eq!(patched, restored.object);
    Ok(patched)
}

fn fields(before: &Value, after: &Value) -> Vec<String> {
    let found = differences(before, after).into_iter();
    found
        .map(|difference| difference.path.to_string())
        .collect()
}

#[test]
fn an_element_put_before_ours_is_left_alone() {
    let (before, after) = (
        workload(json!([app("128Mi")])),
        workload(json!([app("256Mi")])),
    );
    let live = workload(json!([proxy("256Mi"), app("256Mi")]));
    let expected = workload(json!([proxy("256Mi"), app("128Mi")]));
    assert_eq!(undone(&before, &after, &live), Ok(expected));
    let restored = Restored::new(&before, &after, &live);
    let memory = "/spec/template/spec/containers/1/resources/limits/memory";
    assert_eq!(
        patch(&live, &restored.object),
        [
            json!({ "op": "test", "path": "/spec/template/spec/containers/1/name", "value": "app" }),
            json!({ "op": "test", "path": memory, "value": "256Mi" }),
            json!({ "op": "replace", "path": memory, "value": "128Mi" }),
        ]
    );
    assert!(restored.is_ours());

    // Another one stands where ours stood, with the value that we left in ours.
    let live = workload(json!([proxy("256Mi")]));
    assert_eq!(
        undone(&before, &after, &live),
        Err(vec!["spec.template.spec.containers[app]".to_owned()])
    );
    let live = workload(json!([proxy("256Mi"), app("1Gi")]));
    let field = "spec.template.spec.containers[app].resources.limits.memory";
    assert_eq!(undone(&before, &after, &live), Err(vec![field.to_owned()]));
    assert!(!Restored::new(&before, &after, &live).is_ours());
}

#[test]
fn every_list_has_its_identity() {
    for (list, first, second, changed, field) in [
        (
            "env",
            json!({ "name": "A" }),
            json!({ "name": "B" }),
            "value",
            "env[A].value",
        ),
        (
            "volumes",
            json!({ "name": "a" }),
            json!({ "name": "b" }),
            "emptyDir",
            "volumes[a].emptyDir",
        ),
        (
            "ports",
            json!({ "containerPort": 80, "protocol": "TCP" }),
            json!({ "containerPort": 80, "protocol": "UDP" }),
            "name",
            "ports[80, TCP].name",
        ),
        (
            "ports",
            json!({ "port": 80, "protocol": "TCP" }),
            json!({ "port": 81, "protocol": "TCP" }),
            "targetPort",
            "ports[80, TCP].targetPort",
        ),
        (
            "volumeMounts",
            json!({ "name": "a", "mountPath": "/a" }),
            json!({ "name": "a", "mountPath": "/b" }),
            "readOnly",
            "volumeMounts[/a].readOnly",
        ),
        (
            "hostAliases",
            json!({ "ip": "10.0.0.1" }),
            json!({ "ip": "10.0.0.2" }),
            "hostnames",
            "hostAliases[10.0.0.1].hostnames",
        ),
        (
            "imagePullSecrets",
            json!({ "name": "a" }),
            json!({ "name": "b" }),
            "x",
            "imagePullSecrets[a].x",
        ),
        (
            "rules",
            json!({ "host": "a.example" }),
            json!({ "http": {} }),
            "http",
            "rules[a.example].http",
        ),
        (
            "rules",
            json!({ "http": {} }),
            json!({ "host": "a.example" }),
            "x",
            "rules[*].x",
        ),
        (
            "paths",
            json!({ "path": "/", "pathType": "Prefix", "backend": {} }),
            json!({ "path": "/", "pathType": "Exact", "backend": {} }),
            "x",
            "paths[/, Prefix].x",
        ),
        (
            "metrics",
            json!({ "type": "Resource", "resource": { "name": "cpu" } }),
            json!({ "type": "Resource", "resource": { "name": "memory" } }),
            "x",
            "metrics[Resource, cpu].x",
        ),
        (
            "envFrom",
            json!({ "configMapRef": { "name": "a" } }),
            json!({ "secretRef": { "name": "a" } }),
            "x",
            "envFrom[a].x",
        ),
        (
            "tolerations",
            json!({ "key": "a", "operator": "Exists" }),
            json!({ "operator": "Exists" }),
            "tolerationSeconds",
            "tolerations[a, Exists].tolerationSeconds",
        ),
    ] {
        let with = |element: &Value, value: &str| {
            let mut element = element.clone();
            element[changed] = value.into();
            element
        };
        let before = json!({ list: [with(&first, "old"), second] });
        let after = json!({ list: [with(&first, "new"), second] });
        assert_eq!(fields(&before, &after), [field]);
        let live = json!({ list: [second, with(&first, "new")] });
        let expected = json!({ list: [second, with(&first, "old")] });
        assert_eq!(undone(&before, &after, &live), Ok(expected), "{list}");
    }
}

#[test]
fn a_list_without_identities_is_one_value() {
    let args = |args: Value| workload(json!([{ "name": "app", "args": args }]));
    let (before, after) = (args(json!(["-v"])), args(json!(["-v", "-x"])));
    assert_eq!(
        fields(&before, &after),
        ["spec.template.spec.containers[app].args"]
    );
    assert_eq!(undone(&before, &after, &after), Ok(before.clone()));
    let theirs = args(json!(["-y", "-v", "-x"]));
    assert!(undone(&before, &after, &theirs).is_err());
}

#[test]
fn doubled_names_and_their_order_are_shown_and_never_confused() {
    let env = |values: &[(&str, &str)]| {
        let env = values
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value }));
        json!({ "env": env.collect::<Vec<_>>() })
    };
    let (before, after) = (env(&[("A", "1"), ("A", "2")]), env(&[("A", "1")]));
    assert_eq!(fields(&before, &after), ["env[A #2]"]);
    let first_gone = env(&[("A", "2")]);
    assert_eq!(fields(&before, &first_gone), ["env[A #2]", "env[A].value"]);
    assert_eq!(
        undone(&before, &first_gone, &first_gone),
        Ok(before.clone())
    );
    // Which of them is ours can't be told any more.
    let theirs = env(&[("A", "0"), ("A", "2")]);
    assert!(undone(&before, &first_gone, &theirs).is_err());

    let (before, after) = (
        env(&[("A", "1"), ("B", "2")]),
        env(&[("B", "2"), ("A", "1")]),
    );
    let found = differences(&before, &after);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path.to_string(), "env (order)");
    assert_eq!(found[0].before, Some(json!(["A", "B"])));
    assert_eq!(found[0].after, Some(json!(["B", "A"])));
    let live = env(&[("B", "2"), ("X", "9"), ("A", "1")]);
    let expected = env(&[("A", "1"), ("X", "9"), ("B", "2")]);
    assert_eq!(undone(&before, &after, &live), Ok(expected));
    // Beside another change too.
    let before = json!({ "image": "a:1", "env": before["env"] });
    let after = json!({ "image": "a:2", "env": after["env"] });
    assert_eq!(fields(&before, &after).len(), 2);
}

#[test]
fn maps_that_others_added_to_keep_what_is_theirs() {
    let limits = |limits: Value| json!({ "resources": { "limits": limits } });
    let (none, ours) = (json!({}), limits(json!({ "memory": "1Gi" })));
    let both = limits(json!({ "memory": "1Gi", "cpu": "1" }));
    assert_eq!(
        undone(&none, &ours, &both),
        Ok(limits(json!({ "cpu": "1" })))
    );
    let theirs = limits(json!({ "cpu": "1" }));
    assert_eq!(undone(&ours, &none, &theirs), Ok(both));
    assert_eq!(undone(&none, &ours, &ours), Ok(none.clone()));
    // One of ours that isn't as we left it, and an empty map that others filled, are theirs.
    let theirs = limits(json!({ "memory": "2Gi" }));
    assert!(undone(&none, &ours, &theirs).is_err());
    let (empty, filled) = (
        json!({ "emptyDir": {} }),
        json!({ "emptyDir": { "medium": "Memory" } }),
    );
    assert!(undone(&none, &empty, &filled).is_err());
    // What is as it was before needs nothing.
    assert_eq!(undone(&none, &ours, &none), Ok(none));
}

/// A reader that knows nothing but the list of differences.
fn apply(object: &Value, found: &[Difference]) -> Value {
    let mut object = object.clone();
    let (changed, rest): (Vec<_>, Vec<_>) = found
        .iter()
        .partition(|one| one.before.is_some() && one.after.is_some() && !moves(one));
    let (gone, rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(|one| one.after.is_none());
    let (orders, new): (Vec<_>, Vec<_>) = rest.into_iter().partition(|one| moves(one));
    let gone = gone.into_iter().rev();
    for one in changed.into_iter().chain(gone).chain(new).chain(orders) {
        set(&mut object, "", &one.path.0, one.after.as_ref());
    }
    object
}

fn moves(one: &Difference) -> bool {
    one.path.0.last() == Some(&Part::Order)
}

fn set(value: &mut Value, list: &str, path: &[Part], wanted: Option<&Value>) {
    let Some((part, rest)) = path.split_first() else {
        *value = wanted.unwrap().clone();
        return;
    };
    match part {
        Part::Field(key) => {
            if value.is_null() {
                *value = json!({});
            }
            let fields = value.as_object_mut().unwrap();
            match (rest, wanted) {
                ([], None) => drop(fields.remove(key).unwrap()),
                _ => set(
                    fields.entry(key.clone()).or_insert(Value::Null),
                    key,
                    rest,
                    wanted,
                ),
            }
        }
        Part::Element(key) => {
            let items = value.as_array().unwrap();
            let place = keyed(list, items)
                .unwrap()
                .iter()
                .position(|(other, _)| other == key);
            let items = value.as_array_mut().unwrap();
            match (place, rest, wanted) {
                (Some(place), [], None) => drop(items.remove(place)),
                (Some(place), ..) => set(&mut items[place], "", rest, wanted),
                (None, ..) => items.push(wanted.unwrap().clone()),
            }
        }
        Part::Order => {
            let items = value.as_array().unwrap();
            let keyed = keyed(list, items).unwrap();
            let wanted = wanted.unwrap().as_array().unwrap();
            let ordered = wanted.iter().map(|name| {
                let mut named = keyed.iter().filter(|(key, _)| key.to_string() == *name);
                named.next().unwrap().1.clone()
            });
            *value = ordered.collect();
        }
    }
}

/// Any JSON whose names are those that identify elements.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3u8).prop_map(Value::from),
        "[ab]".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 5, |inner| {
        let key = prop_oneof!["env", "ports", "rules", "containers", "a", "~b/c"];
        let element = (
            prop_oneof!["[abc]".prop_map(Value::from), Just(Value::Null)],
            proptest::collection::btree_map(key.clone(), inner.clone(), 0..3),
        );
        let element = element.prop_map(|(name, fields)| {
            let mut element: serde_json::Map<_, _> = fields.into_iter().collect();
            if !name.is_null() {
                element.insert("name".into(), name);
            }
            Value::from(element)
        });
        prop_oneof![
            proptest::collection::vec(element, 0..5).prop_map(Value::from),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..4).prop_map(|fields| Value::from(
                fields.into_iter().collect::<serde_json::Map<_, _>>()
            )),
        ]
    })
}

/// What somebody does to an object. Places are taken modulo what is there.
#[derive(Debug, Clone)]
enum Edit {
    Replicas(u8),
    Annotate(u8, Option<u8>),
    Insert(u8, usize),
    Remove(u8),
    Move(usize, usize),
    Limit(u8, bool, Option<u8>),
    Env(u8, u8, Option<u8>, usize),
    MoveEnv(u8, usize, usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        (0..4u8).prop_map(Edit::Replicas),
        (0..3u8, proptest::option::of(0..3u8)).prop_map(|(key, value)| Edit::Annotate(key, value)),
        (0..4u8, 0..5usize).prop_map(|(name, place)| Edit::Insert(name, place)),
        (0..4u8).prop_map(Edit::Remove),
        (0..5usize, 0..5usize).prop_map(|(from, to)| Edit::Move(from, to)),
        (0..4u8, any::<bool>(), proptest::option::of(0..3u8))
            .prop_map(|(name, cpu, value)| Edit::Limit(name, cpu, value)),
        (0..4u8, 0..4u8, proptest::option::of(0..3u8), 0..5usize)
            .prop_map(|(name, key, value, place)| Edit::Env(name, key, value, place)),
        (0..4u8, 0..5usize, 0..5usize).prop_map(|(name, from, to)| Edit::MoveEnv(name, from, to)),
    ];
    proptest::collection::vec(edit, 0..5)
}

fn insert(items: &mut Vec<Value>, place: usize, item: Value) {
    let place = place % (items.len() + 1);
    items.insert(place, item);
}

fn shift(items: &mut Vec<Value>, from: usize, to: usize) {
    if !items.is_empty() {
        let from = from % items.len();
        let item = items.remove(from);
        insert(items, to, item);
    }
}

fn edited(object: &Value, edits: &[Edit]) -> Value {
    let mut object = object.clone();
    for edit in edits {
        let named = |name: &u8| format!("c{name}");
        let position = |object: &Value, name: &u8| {
            let containers = object["containers"].as_array().unwrap();
            containers.iter().position(|one| one["name"] == named(name))
        };
        match edit {
            Edit::Replicas(count) => object["replicas"] = (*count).into(),
            Edit::Annotate(key, value) => {
                let annotations = object["annotations"].as_object_mut().unwrap();
                match value {
                    Some(value) => drop(annotations.insert(format!("a/{key}"), (*value).into())),
                    None => drop(annotations.remove(&format!("a/{key}"))),
                }
            }
            Edit::Insert(name, place) => {
                if position(&object, name).is_none() {
                    let container = json!({ "name": named(name), "limits": { "pad": 1 }, "env": [{ "name": "PAD" }] });
                    insert(
                        object["containers"].as_array_mut().unwrap(),
                        *place,
                        container,
                    );
                }
            }
            Edit::Remove(name) => {
                if let Some(place) = position(&object, name) {
                    object["containers"].as_array_mut().unwrap().remove(place);
                }
            }
            Edit::Move(from, to) => shift(object["containers"].as_array_mut().unwrap(), *from, *to),
            Edit::Limit(name, cpu, value) => {
                if let Some(place) = position(&object, name) {
                    let limits = object["containers"][place]["limits"]
                        .as_object_mut()
                        .unwrap();
                    let key = if *cpu { "cpu" } else { "memory" };
                    match value {
                        Some(value) => drop(limits.insert(key.into(), (*value).into())),
                        None => drop(limits.remove(key)),
                    }
                }
            }
            Edit::Env(name, key, value, at) => {
                if let Some(place) = position(&object, name) {
                    let env = object["containers"][place]["env"].as_array_mut().unwrap();
                    let key = format!("E{key}");
                    let there = env.iter().position(|one| one["name"] == key);
                    match (there, value) {
                        (Some(there), Some(value)) => env[there]["value"] = (*value).into(),
                        (Some(there), None) => drop(env.remove(there)),
                        (None, Some(value)) => {
                            insert(env, *at, json!({ "name": key, "value": value }));
                        }
                        (None, None) => {}
                    }
                }
            }
            Edit::MoveEnv(name, from, to) => {
                if let Some(place) = position(&object, name) {
                    shift(
                        object["containers"][place]["env"].as_array_mut().unwrap(),
                        *from,
                        *to,
                    );
                }
            }
        }
    }
    object
}

fn names(items: &Value) -> Vec<String> {
    let items = items.as_array().into_iter().flatten();
    items
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect()
}

fn container<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let containers = object["containers"].as_array().unwrap();
    containers.iter().find(|one| one["name"] == name)
}

/// Every field by the names on its way, and every element with its own; but for order, that is the object.
fn flat(object: &Value) -> BTreeMap<String, Value> {
    let mut flat = BTreeMap::from([("replicas".to_owned(), object["replicas"].clone())]);
    for (key, value) in object["annotations"].as_object().unwrap() {
        flat.insert(format!("annotations {key}"), value.clone());
    }
    for name in names(&object["containers"]) {
        let container = container(object, &name).unwrap();
        flat.insert(name.clone(), true.into());
        for (key, value) in container["limits"].as_object().unwrap() {
            flat.insert(format!("{name} limits {key}"), value.clone());
        }
        for variable in container["env"].as_array().unwrap() {
            let key = format!("{name} env {}", variable["name"].as_str().unwrap());
            flat.insert(key, variable["value"].clone());
        }
    }
    flat
}

/// The lists of an object by name.
fn lists(object: &Value) -> BTreeMap<String, Vec<String>> {
    let containers = names(&object["containers"]);
    let mut lists: BTreeMap<_, _> = containers
        .iter()
        .map(|name| {
            (
                name.clone(),
                names(&container(object, name).unwrap()["env"]),
            )
        })
        .collect();
    lists.insert(String::new(), containers);
    lists
}

/// What the undo has to make of `live`, as flat fields; none if somebody else changed what the step changed.
fn naive(before: &Value, after: &Value, live: &Value) -> Option<BTreeMap<String, Value>> {
    let (was, left, is) = (flat(before), flat(after), flat(live));
    let mut expected = is.clone();
    let keys: BTreeSet<&String> = was.keys().chain(left.keys()).collect();
    for key in keys
        .into_iter()
        .filter(|key| was.get(*key) != left.get(*key))
    {
        let owner = key.split(' ').next().unwrap();
        let of = |object| container(object, owner);
        let (old, new, now) = (of(before), of(after), of(live));
        if old.is_some() && new.is_some() && now.is_none() {
            return None;
        }
        let whole = owner.starts_with('c') && (old.is_some() != new.is_some());
        let (ours, back) = match whole {
            true => (now == new, now == old),
            false => (is.get(key) == left.get(key), is.get(key) == was.get(key)),
        };
        match (ours, was.get(key)) {
            (true, Some(value)) => drop(expected.insert(key.clone(), value.clone())),
            (true, None) => drop(expected.remove(key)),
            (false, _) if back => {}
            (false, _) => return None,
        }
    }
    let (was, left, is) = (lists(before), lists(after), lists(live));
    for (name, old) in &was {
        let Some(new) = left.get(name) else { continue };
        let common = |list: &[String]| -> Vec<String> {
            let both = |one: &&String| old.contains(one) && new.contains(one);
            list.iter().filter(both).cloned().collect()
        };
        if common(old) == common(new) {
            continue;
        }
        let now = is.get(name)?;
        let there = |list: &[String]| -> Vec<String> {
            let one = common(list).into_iter().filter(|one| now.contains(one));
            one.collect()
        };
        if common(now) != there(new) && common(now) != there(old) {
            return None;
        }
    }
    Some(expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Nothing that differs is left out: whoever applies the differences has the other object.
    #[test]
    fn differences_are_complete(before in any_json(), after in any_json()) {
        let found = differences(&before, &after);
        prop_assert_eq!(found.is_empty(), before == after);
        prop_assert_eq!(apply(&before, &found), after);
    }

    #[test]
    fn differences_of_lists_are_complete(base in edits(), step in edits()) {
        let before = edited(&json!({ "replicas": 0, "annotations": {}, "containers": [] }), &base);
        let after = edited(&before, &step);
        prop_assert_eq!(apply(&before, &differences(&before, &after)), after);
    }

    /// Somebody inserts, removes, moves and changes elements between the step and its undo: the fields of the step are as
    /// before, in the elements of the same name, and everything else is as they left it.
    #[test]
    fn undo_restores_the_steps_fields_and_nothing_else(
        step in edits(),
        others in edits(),
        seed in edits(),
    ) {
        let start = [Edit::Insert(0, 0), Edit::Insert(1, 1), Edit::Env(0, 0, Some(0), 0), Edit::Env(0, 1, Some(0), 1)];
        let nothing = json!({ "replicas": 0, "annotations": {}, "containers": [] });
        let before = edited(&edited(&nothing, &start), &seed);
        let after = edited(&before, &step);
        let live = edited(&after, &others);
        let expected = naive(&before, &after, &live);
        let undone = undone(&before, &after, &live);
        prop_assert_eq!(undone.as_ref().ok().map(flat), expected, "{:?}", &undone);
        prop_assert_eq!(self::undone(&before, &after, &after).unwrap(), before.clone());
        // It is in force only if everything that it changed is as it left it.
        let (was, left, is) = (flat(&before), flat(&after), flat(&live));
        let mut changed = was.keys().chain(left.keys()).filter(|key| was.get(*key) != left.get(*key));
        let stands = changed.all(|key| is.get(key) == left.get(key));
        prop_assert!(stands || !Restored::new(&before, &after, &live).is_ours());
        let Ok(undone) = undone else { return Ok(()) };
        // Their order stands, but for what the step itself moved.
        for (name, now) in lists(&live) {
            let (was, left) = (lists(&before), lists(&after));
            let Some(then) = lists(&undone).remove(&name) else { continue };
            let common: Vec<String> = then.iter().filter(|one| now.contains(one)).cloned().collect();
            let only = |list: Option<&Vec<String>>| -> Vec<String> {
                let both = |one: &&String| {
                    was.get(&name).is_some_and(|list| list.contains(one))
                        && left.get(&name).is_some_and(|list| list.contains(one))
                };
                list.into_iter().flatten().filter(both).cloned().collect()
            };
            if only(was.get(&name)) == only(left.get(&name)) {
                let stayed: Vec<String> = now.iter().filter(|one| then.contains(one)).cloned().collect();
                prop_assert_eq!(common, stayed);
            } else {
                let first: Vec<String> = only(was.get(&name)).into_iter().filter(|one| then.contains(one)).collect();
                prop_assert_eq!(only(Some(&then)), first);
            }
        }
    }
}
