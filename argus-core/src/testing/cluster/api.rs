//! One HTTP request becomes one answer, as the API server gives it.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::admission::unanswered;
use super::controllers::delete;
use super::resources::{Resource, find};
use super::selectors::Selectors;
use super::store::{Event, Key, Store, now, status};
use super::{Failure, patch};

/// A request, read.
pub(super) struct Call<'a> {
    pub(super) user: &'a str,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: HashMap<String, String>,
    pub(super) content_type: &'a str,
    pub(super) accept: &'a str,
    pub(super) body: &'a [u8],
}

/// What to answer.
pub(super) enum Reply {
    Json(u16, Value),
    Text(String),
    /// A stream of events after a version.
    Watch {
        resource: &'static Resource,
        namespace: Option<String>,
        version: u64,
        selectors: Selectors,
        metadata_only: bool,
        /// What is sent first: the objects as they are, where the client asked for them.
        initial: String,
    },
}

/// What a path names.
pub(super) struct Place<'a> {
    pub(super) resource: &'static Resource,
    pub(super) namespace: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) subresource: Option<&'a str>,
}

impl<'a> Place<'a> {
    pub(super) fn read(path: &'a str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let place =
            |plural: &str, namespace, name: Option<&&'a str>, subresource: Option<&&'a str>| {
                Some(Self {
                    resource: find(group, version, plural)?,
                    namespace,
                    name: name.copied(),
                    subresource: subresource.copied(),
                })
            };
        match rest {
            ["namespaces", namespace, plural, rest @ ..]
                if rest.len() <= 2 && find(group, version, plural).is_some() =>
            {
                place(plural, Some(*namespace), rest.first(), rest.get(1))
            }
            [plural, rest @ ..] if rest.len() <= 2 => {
                place(plural, None, rest.first(), rest.get(1))
            }
            _ => None,
        }
    }

    pub(super) fn key(&self) -> Key {
        Key::new(
            self.resource.plural,
            self.namespace.unwrap_or_default(),
            self.name.unwrap_or_default(),
        )
    }

    /// The object that the path names.
    fn object<'s>(&self, store: &'s Store) -> Result<&'s Value, Failure> {
        store.get(&self.key()).ok_or_else(|| self.not_found())
    }

    fn not_found(&self) -> Failure {
        let group = if self.resource.group.is_empty() {
            String::new()
        } else {
            format!(".{}", self.resource.group)
        };
        Failure::new(
            404,
            "NotFound",
            format!(
                "{}{group} \"{}\" not found",
                self.resource.plural,
                self.name.unwrap_or_default()
            ),
        )
    }
}

/// The verb of RBAC that a request is.
pub(super) fn verb(call: &Call<'_>, place: &Place<'_>) -> &'static str {
    match (call.method, place.name) {
        ("GET", Some(_)) => "get",
        ("GET", None) if is_true(&call.query, "watch") => "watch",
        ("GET", None) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        _ => "delete",
    }
}

fn is_true(query: &HashMap<String, String>, name: &str) -> bool {
    query
        .get(name)
        .is_some_and(|value| value == "1" || value == "true")
}

pub(super) fn answer(
    store: &mut Store,
    call: &Call<'_>,
    place: &Place<'_>,
) -> Result<Reply, Failure> {
    let dry_run = match call.query.get("dryRun").map(String::as_str) {
        None => false,
        Some("All") => true,
        Some(other) => {
            return Err(Failure::new(
                422,
                "Invalid",
                format!("dryRun: Unsupported value: \"{other}\""),
            ));
        }
    };
    let metadata_only = call.accept.contains("as=PartialObjectMetadata");
    if let Some(failure) = unanswered(store, call.method, place) {
        return Err(failure);
    }
    match call.method {
        "GET" => match (place.name, place.subresource) {
            (Some(_), Some("log")) => Ok(Reply::Text(log(store, place)?)),
            (Some(_), None | Some("status")) => {
                Ok(Reply::Json(200, shown(place.object(store)?, metadata_only)))
            }
            (Some(_), Some("scale")) if place.resource.scalable() => {
                Ok(Reply::Json(200, scale(place.object(store)?)))
            }
            (None, None) => list(store, call, place, metadata_only),
            _ => Err(place.not_found()),
        },
        "POST" if place.name.is_none() => {
            create(store, place, object(call.body)?, dry_run, strict(call))
                .map(|object| Reply::Json(201, object))
        }
        "PUT" | "PATCH" => {
            write(store, call, place, dry_run).map(|object| Reply::Json(200, object))
        }
        "DELETE" if place.name.is_some() && place.subresource.is_none() => {
            remove(store, call, place, dry_run).map(|object| Reply::Json(200, object))
        }
        _ => Err(Failure::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource".into(),
        )),
    }
}

fn strict(call: &Call<'_>) -> bool {
    call.query
        .get("fieldValidation")
        .is_some_and(|value| value == "Strict")
}

fn object(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        Failure::new(
            400,
            "BadRequest",
            format!("the object provided can't be read: {error}"),
        )
    })
}

/// An object as clients see it.
fn shown(object: &Value, metadata_only: bool) -> Value {
    if metadata_only {
        return json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object.get("metadata") });
    }
    object.clone()
}

fn list(
    store: &Store,
    call: &Call<'_>,
    place: &Place<'_>,
    metadata_only: bool,
) -> Result<Reply, Failure> {
    let selectors = Selectors::read(&call.query)?;
    let namespace = place.namespace.map(ToOwned::to_owned);
    if is_true(&call.query, "watch") {
        let given = call
            .query
            .get("resourceVersion")
            .and_then(|text| text.parse().ok())
            .filter(|version| *version > 0);
        let streamed = is_true(&call.query, "sendInitialEvents");
        let mut initial = String::new();
        if streamed || given.is_none() {
            for (key, object) in store.list(place.resource.plural, namespace.as_deref()) {
                let event = Event {
                    version: store.version(),
                    kind: "ADDED",
                    key: key.clone(),
                    object: object.clone(),
                };
                initial.extend(watch_line(&event, &selectors, metadata_only));
            }
        }
        if streamed {
            let metadata = json!({ "resourceVersion": store.version().to_string(), "annotations": { "k8s.io/initial-events-end": "true" } });
            let object = json!({ "apiVersion": place.resource.api_version(), "kind": place.resource.kind, "metadata": metadata });
            initial.push_str(&format!(
                "{}\n",
                json!({ "type": "BOOKMARK", "object": object })
            ));
        }
        let version = if initial.is_empty() {
            given.unwrap_or(store.version())
        } else {
            store.version()
        };
        return Ok(Reply::Watch {
            resource: place.resource,
            namespace,
            version,
            selectors,
            metadata_only,
            initial,
        });
    }
    let all = store
        .list(place.resource.plural, namespace.as_deref())
        .filter(|(_, object)| selectors.select(object));
    let after = call
        .query
        .get("continue")
        .and_then(|token| token.split_once('/'));
    let rest = all.skip_while(|(key, _)| {
        after.is_some_and(|(namespace, name)| {
            (key.namespace.as_str(), key.name.as_str()) <= (namespace, name)
        })
    });
    let limit = call
        .query
        .get("limit")
        .and_then(|text| text.parse().ok())
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    let mut items: Vec<(&Key, &Value)> = rest.take(limit.saturating_add(1)).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let token = items
        .last()
        .filter(|_| more)
        .map(|(key, _)| format!("{}/{}", key.namespace, key.name));
    let (api_version, kind) = if metadata_only {
        ("meta.k8s.io/v1".into(), "PartialObjectMetadataList".into())
    } else {
        (
            place.resource.api_version(),
            format!("{}List", place.resource.kind),
        )
    };
    Ok(Reply::Json(
        200,
        json!({ "apiVersion": api_version, "kind": kind,
                "metadata": { "resourceVersion": store.version().to_string(), "continue": token },
                "items": items.into_iter().map(|(_, object)| shown(object, metadata_only)).collect::<Vec<_>>() }),
    ))
}

fn create(
    store: &mut Store,
    place: &Place<'_>,
    mut object: Value,
    dry_run: bool,
    strict: bool,
) -> Result<Value, Failure> {
    check_shape(&object)?;
    if let Some(namespace) = place.namespace {
        if store.get(&Key::new("namespaces", "", namespace)).is_none() {
            return Err(Failure::new(
                404,
                "NotFound",
                format!("namespaces \"{namespace}\" not found"),
            ));
        }
        object["metadata"]["namespace"] = namespace.into();
    }
    place.resource.admit(&mut object, None, strict)?;
    store.stamp_new(place.resource, &mut object);
    note_manager(&mut object, "create");
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let key = Key {
        name: name.to_owned(),
        ..place.key()
    };
    if store.get(&key).is_some() {
        return Err(Failure::new(
            409,
            "AlreadyExists",
            format!("{} \"{name}\" already exists", place.resource.plural),
        ));
    }
    if dry_run {
        Ok(object)
    } else {
        Ok(store.put(key, object))
    }
}

/// Objects have metadata, a spec and a status that are objects themselves, where they are there.
fn check_shape(object: &Value) -> Result<(), Failure> {
    let shaped = |part: &Value| part.is_object() || part.is_null();
    let parts = [
        "/metadata",
        "/metadata/annotations",
        "/metadata/labels",
        "/spec",
        "/status",
    ];
    if object.is_object()
        && parts
            .iter()
            .filter_map(|part| object.pointer(part))
            .all(shaped)
    {
        return Ok(());
    }
    Err(Failure::new(
        400,
        "BadRequest",
        "the object provided is no Kubernetes object".into(),
    ))
}

fn note_manager(object: &mut Value, manager: &str) {
    let keys = object.get("data").and_then(Value::as_object);
    let keys = keys.into_iter().flatten();
    let keys: Map<String, Value> = keys
        .map(|(key, _)| (format!("f:{key}"), json!({})))
        .collect();
    let fields = json!({ "f:data": keys });
    object["metadata"]["managedFields"] = json!([{
        "manager": manager, "operation": "Update", "time": now(), "fieldsType": "FieldsV1", "fieldsV1": fields,
    }]);
}

fn conflict(place: &Place<'_>) -> Failure {
    let message = format!(
        "Operation cannot be fulfilled on {} \"{}\": the object has been modified; please apply your changes to the latest version and try again",
        place.resource.plural,
        place.name.unwrap_or_default()
    );
    Failure::new(409, "Conflict", message)
}

fn write(
    store: &mut Store,
    call: &Call<'_>,
    place: &Place<'_>,
    dry_run: bool,
) -> Result<Value, Failure> {
    let old = place.object(store)?.clone();
    let scaling = place.subresource == Some("scale");
    if scaling && !place.resource.scalable()
        || !matches!(place.subresource, None | Some("scale" | "status"))
    {
        return Err(place.not_found());
    }
    let base = if scaling { scale(&old) } else { old.clone() };
    let mut new = if call.method == "PUT" {
        object(call.body)?
    } else {
        base.clone()
    };
    if call.method == "PATCH" {
        patch::apply(&mut new, call.content_type, call.body)?;
    }
    check_shape(&new)?;
    let given = |path: &str| {
        new.pointer(path)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    if given("/metadata/uid")
        .is_some_and(|uid| Some(uid) != old.pointer("/metadata/uid").and_then(Value::as_str))
    {
        return Err(Failure::new(
            409,
            "Conflict",
            "Precondition failed: UID in precondition does not match".into(),
        ));
    }
    if given("/metadata/resourceVersion").is_some_and(|version| {
        Some(version)
            != old
                .pointer("/metadata/resourceVersion")
                .and_then(Value::as_str)
    }) {
        return Err(conflict(place));
    }
    let mut object = old.clone();
    match place.subresource {
        Some("scale") => {
            object["spec"]["replicas"] = new.pointer("/spec/replicas").cloned().unwrap_or(0.into());
        }
        Some(_) => object["status"] = new.get("status").cloned().unwrap_or_default(),
        None => {
            let identity = |object: &Value| {
                [
                    object.pointer("/metadata/name").cloned(),
                    object.pointer("/metadata/namespace").cloned(),
                ]
            };
            if identity(&new) != identity(&old) {
                return Err(Failure::new(
                    400,
                    "BadRequest",
                    "the name and the namespace of the object can't change".into(),
                ));
            }
            // The server keeps what clients can't write here.
            new["status"] = old.get("status").cloned().unwrap_or_default();
            for field in ["uid", "creationTimestamp", "generation", "resourceVersion"] {
                new["metadata"][field] = old["metadata"][field].clone();
            }
            if new["status"].is_null() {
                new.as_object_mut().map(|fields| fields.remove("status"));
            }
            object = new;
        }
    }
    place
        .resource
        .admit(&mut object, Some(&old), strict(call))?;
    if place.subresource.is_none() {
        note_manager(
            &mut object,
            call.query
                .get("fieldManager")
                .map_or("unknown", String::as_str),
        );
    }
    let object = if dry_run {
        object
    } else {
        store.put(place.key(), object)
    };
    Ok(if scaling {
        scale(&object)
    } else {
        shown(&object, false)
    })
}

fn scale(object: &Value) -> Value {
    let of = |path: &str| object.pointer(path).cloned().unwrap_or_default();
    let replicas = of("/spec/replicas");
    json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": { "name": of("/metadata/name"), "namespace": of("/metadata/namespace"), "uid": of("/metadata/uid"), "resourceVersion": of("/metadata/resourceVersion") },
        // As with a real one, zero is left out.
        "spec": if replicas == 0 { json!({}) } else { json!({ "replicas": replicas }) }, "status": { "replicas": of("/status/replicas") },
    })
}

fn remove(
    store: &mut Store,
    call: &Call<'_>,
    place: &Place<'_>,
    dry_run: bool,
) -> Result<Value, Failure> {
    let old = place.object(store)?.clone();
    let options = if call.body.is_empty() {
        json!({})
    } else {
        object(call.body)?
    };
    for (precondition, field) in [
        ("/preconditions/uid", "/metadata/uid"),
        (
            "/preconditions/resourceVersion",
            "/metadata/resourceVersion",
        ),
    ] {
        if options
            .pointer(precondition)
            .is_some_and(|wanted| !wanted.is_null() && Some(wanted) != old.pointer(field))
        {
            return Err(conflict(place));
        }
    }
    let dry_run = dry_run
        || options
            .get("dryRun")
            .and_then(Value::as_array)
            .is_some_and(|list| list.contains(&"All".into()));
    if !dry_run {
        delete(store, &place.key());
    }
    Ok(if place.resource.plural == "pods" {
        shown(&old, false)
    } else {
        status(200, "", "")
    })
}

fn log(store: &Store, place: &Place<'_>) -> Result<String, Failure> {
    let pod = place.object(store)?;
    let text = pod
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get("fake-kubelet/log")?.as_str());
    Ok(format!("{}\n", text.unwrap_or("listening on 0.0.0.0:8080")))
}

/// One event of a watch as a line of JSON; none if the selectors leave it out.
pub(super) fn watch_line(
    event: &Event,
    selectors: &Selectors,
    metadata_only: bool,
) -> Option<String> {
    selectors.select(&event.object).then(|| {
        format!(
            "{}\n",
            json!({ "type": event.kind, "object": shown(&event.object, metadata_only) })
        )
    })
}
