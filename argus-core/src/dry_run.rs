//! Room 5: [`Permitted`] becomes a [`DryRun`]: per step the object before, the object after, and what would change.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::action::{Evidence, JudgedField, PatchKind, Risk};
use crate::digest::{Digest, DigestError};
use crate::identity::differences;
use crate::plan::Plan;
use crate::redact::{Redacted, redact_json, shortened};
use crate::verdict::{Evaluation, ObjectInput, Permitted, PermittedStep, Verdict};

/// The one request that a step is: what the dry run tried, and what apply sends.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "method", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Write {
    /// `PATCH`.
    Patch {
        /// `scale`, or none for the object itself.
        subresource: Option<String>,
        /// How the body is applied.
        patch_type: PatchKind,
        /// The body.
        body: Value,
    },
    /// `DELETE`.
    Delete,
}

/// What one step would do, as the API server answered its dry run.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Preview {
    /// The object's uid.
    pub uid: String,
    /// The object as it is.
    pub before: Value,
    /// The object as it would be; null if it would be gone.
    pub after: Value,
    /// The request.
    pub write: Write,
    /// What was read of the cluster to judge the change by; none where nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// What the API server warned of, redacted, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One field that would change.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Where, such as `spec.template.spec.containers[app].resources.limits.memory`.
    pub field: String,
    /// The value now; none if the field is new.
    pub before: Option<Value>,
    /// The value then; none if the field goes.
    pub after: Option<Value>,
}

/// Without the body, which may hold secrets.
impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Patch {
                subresource,
                patch_type,
                ..
            } => f
                .debug_struct("Patch")
                .field("subresource", subresource)
                .field("patch_type", patch_type)
                .finish_non_exhaustive(),
            Self::Delete => f.write_str("Delete"),
        }
    }
}

/// The object's name and the number of changes; nothing of what it holds.
impl fmt::Debug for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |pointer: &str| {
            let text = self.before.pointer(pointer).and_then(Value::as_str);
            Redacted::from(text.unwrap_or_default())
        };
        f.debug_struct("Preview")
            .field("kind", &text("/kind"))
            .field("namespace", &text("/metadata/namespace"))
            .field("name", &text("/metadata/name"))
            .field("uid", &Redacted::from(self.uid.as_str()))
            .field("changes", &self.changes().len())
            .field("write", &self.write)
            .finish_non_exhaustive()
    }
}

/// The field and whether it had a value and gets one; not the values.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("field", &Redacted::from(self.field.as_str()))
            .field("before", &self.before.is_some())
            .field("after", &self.after.is_some())
            .finish()
    }
}

impl Change {
    /// The two values for people: short, redacted, `none` where there is none.
    #[must_use]
    pub fn values(&self) -> (String, String) {
        // Beside the path, which may name a secret.
        let shown = |value: &Option<Value>| {
            let value = value.as_ref()?;
            let kept = redact_json(json!({ "field": self.field, "value": value }));
            Some(match kept.get("value")? {
                Value::String(text) => text.clone(),
                value => shortened(&value.to_string()),
            })
        };
        let shown = |value| shown(value).unwrap_or_else(|| "none".to_owned());
        (shown(&self.before), shown(&self.after))
    }
}

impl Preview {
    /// The fields that would change, without what the cluster keeps for itself.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.after.is_null() {
            changes.push(Change {
                field: "the object".into(),
                before: Some("exists".into()),
                after: Some("is deleted; its owner makes a new one".into()),
            });
        } else {
            let (before, after) = (self.state(&self.before), self.state(&self.after));
            let found = differences(&before, &after).into_iter();
            changes.extend(found.map(|difference| Change {
                field: difference.path.to_string(),
                before: difference.before,
                after: difference.after,
            }));
        }
        changes
    }

    /// Whether an object, as it was stored, is what was approved.
    pub(crate) fn is_as_approved(&self, stored: &Value) -> bool {
        self.state(stored) == self.state(&self.after)
    }

    /// The [desired state](desired_state) of the step's object at any time, with what controllers and `kubectl apply` note
    /// down where the step itself changes that.
    pub(crate) fn state(&self, object: &Value) -> Value {
        let mut state = desired_state(object);
        if let Some(kept) = state
            .pointer_mut("/metadata/annotations")
            .and_then(Value::as_object_mut)
        {
            let notes = [&self.before, &self.after]
                .into_iter()
                .flat_map(annotations);
            for (key, _) in notes.filter(|(key, _)| is_note(key)) {
                let of = |object| annotations(object).find(|(other, _)| *other == key);
                if of(&self.before) != of(&self.after)
                    && let Some((_, value)) = of(object)
                {
                    kept.insert(key.clone(), value.clone());
                }
            }
        }
        state
    }
}

fn annotations(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let annotations = object.pointer("/metadata/annotations");
    annotations.and_then(Value::as_object).into_iter().flatten()
}

/// Whether an annotation is one that the Deployment controller or `kubectl apply` notes down for itself.
fn is_note(key: &str) -> bool {
    key.starts_with("deployment.kubernetes.io/")
        || key == "kubectl.kubernetes.io/last-applied-configuration"
}

/// The part of an object that people and hosts decide: spec, data, labels, annotations, owners; not status, versions,
/// timestamps or what controllers note down. Two objects with one desired state are the same for an approval.
#[must_use]
pub fn desired_state(object: &Value) -> Value {
    let Value::Object(fields) = object else {
        return Value::Null;
    };
    let mut kept: Map<String, Value> = fields
        .iter()
        .filter(|(key, _)| *key != "status" && *key != "metadata")
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let mut metadata = Map::new();
    for key in [
        "name",
        "namespace",
        "labels",
        "ownerReferences",
        "finalizers",
    ] {
        if let Some(value) = object.pointer(&format!("/metadata/{key}")) {
            metadata.insert(key.into(), value.clone());
        }
    }
    let annotations: Map<String, Value> = annotations(object)
        .filter(|(key, _)| !is_note(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    metadata.insert("annotations".into(), annotations.into());
    kept.insert("metadata".into(), metadata.into());
    kept.into()
}

/// Why there is no dry run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DryRunError {
    /// The object isn't there.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The API server refuses the change.
    #[error("the cluster refuses the change: {0}")]
    Refused(String),
    /// The host may not do it.
    #[error("the cluster does not permit it: {0}")]
    Forbidden(String),
    /// The step can't be made of what is there.
    #[error("{0}")]
    Impossible(String),
    /// No answer from the cluster.
    #[error("the cluster did not answer: {problem}")]
    Unreachable {
        /// What went wrong.
        problem: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// The door to whoever can try a step without doing it.
///
/// # Obligations
/// Nothing is changed. The [`Write`] of the preview is exactly what [`apply`](crate::Executor::apply) will send.
#[async_trait]
pub trait DryRunner: Send + Sync {
    /// The permissions that the plan and its undo need and the host lacks, each in words; empty when all are there.
    ///
    /// # Errors
    /// [`DryRunError`] when the cluster can't be asked.
    async fn missing_permissions(&self, plan: &Permitted) -> Result<Vec<String>, DryRunError>;

    /// Tries one step.
    ///
    /// # Errors
    /// [`DryRunError`] when the step wouldn't work.
    async fn dry_run(&self, step: PermittedStep<'_>) -> Result<Preview, DryRunError>;
}

/// A permitted plan with what it would change, as policy saw it: what a person approves.
///
/// # Guarantees
/// Made only by the corridor; policy permitted the resulting objects too.
#[derive(Clone, Serialize)]
pub struct DryRun {
    plan: Plan,
    previews: Vec<Preview>,
    /// Of the actions, then of the objects.
    evaluations: [Evaluation; 2],
    revision: Digest,
    digest: Digest,
    taken_at: Timestamp,
    risk_level: Risk,
}

/// The plan's id, the objects' names and the counts; nothing of what the objects hold.
impl fmt::Debug for DryRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DryRun")
            .field("plan_id", self.plan.plan_id())
            .field("previews", &self.previews)
            .field("verdict", &self.verdict())
            .field("digest", &self.digest)
            .field("taken_at", &self.taken_at)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Bound<'a> {
    plan: &'a Plan,
    policy_revision: Digest,
    verdict: Verdict,
    dry_run: Vec<BoundStep<'a>>,
}

#[derive(Serialize)]
struct BoundStep<'a> {
    uid: &'a str,
    before: Value,
    after: Value,
    write: &'a Write,
    /// What the evidence made of it; none where nobody looked, as in a dry run of before there was any.
    #[serde(skip_serializing_if = "Option::is_none")]
    risk: Option<Risk>,
}

impl DryRun {
    pub(crate) fn new(
        permitted: Permitted,
        previews: Vec<Preview>,
        objects: Evaluation,
    ) -> Result<Self, DigestError> {
        let evaluations = [permitted.evaluation().clone(), objects];
        let revision = permitted.revision();
        Self::of(
            permitted.into_plan(),
            previews,
            evaluations,
            revision,
            Timestamp::now(),
        )
    }

    /// A dry run of these parts; whoever stored them compares the digest.
    pub(crate) fn of(
        plan: Plan,
        previews: Vec<Preview>,
        evaluations: [Evaluation; 2],
        revision: Digest,
        taken_at: Timestamp,
    ) -> Result<Self, DigestError> {
        let [actions, objects] = &evaluations;
        let verdict = stricter(actions.verdict, objects.verdict);
        let fields = judged_fields(&plan, &previews);
        let worst = |fields: &Vec<JudgedField>| fields.iter().map(|field| field.risk).max();
        let risk_level = fields.iter().filter_map(worst).max();
        let risk_level = risk_level.map_or(plan.risk_level(), |risk| risk.max(plan.risk_level()));
        let dry_run = previews
            .iter()
            .zip(&fields)
            .map(|(preview, fields)| BoundStep {
                uid: &preview.uid,
                before: preview.state(&preview.before),
                after: preview.state(&preview.after),
                write: &preview.write,
                risk: preview.evidence.as_ref().and_then(|_| worst(fields)),
            });
        let digest = Digest::of_json(&Bound {
            plan: &plan,
            policy_revision: revision,
            verdict,
            dry_run: dry_run.collect(),
        })?;
        Ok(Self {
            plan,
            previews,
            evaluations,
            revision,
            digest,
            taken_at,
            risk_level,
        })
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Per step, what it would do.
    #[must_use]
    pub fn previews(&self) -> &[Preview] {
        &self.previews
    }

    /// What policy said about the actions, and about the resulting objects.
    #[must_use]
    pub fn evaluations(&self) -> &[Evaluation; 2] {
        &self.evaluations
    }

    /// The stricter of the two verdicts.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let [actions, objects] = &self.evaluations;
        stricter(actions.verdict, objects.verdict)
    }

    /// How much it can hurt: the plan's risk, or more where what would result is riskier than its actions say.
    #[must_use]
    pub fn risk_level(&self) -> Risk {
        self.risk_level
    }

    /// Per step, the fields that would change, each held against the table of allowed changes.
    #[must_use]
    pub fn judged_fields(&self) -> Vec<Vec<JudgedField>> {
        judged_fields(&self.plan, &self.previews)
    }

    /// How many people have to approve it: one, unless policy asks for more.
    #[must_use]
    pub fn people(&self) -> u8 {
        let [actions, objects] = &self.evaluations;
        actions.people().max(objects.people())
    }

    /// The policy that was asked.
    #[must_use]
    pub fn revision(&self) -> Digest {
        self.revision
    }

    /// When it was taken.
    #[must_use]
    pub fn taken_at(&self) -> Timestamp {
        self.taken_at
    }

    /// What an approval is for: plan, policy, verdict, and each object's uid, desired state before and after, and request.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

fn judged_fields(plan: &Plan, previews: &[Preview]) -> Vec<Vec<JudgedField>> {
    let paired = plan.steps().iter().zip(previews);
    let judged = paired.map(|(step, preview)| {
        let unknown = Evidence::default();
        let evidence = preview.evidence.as_ref().unwrap_or(&unknown);
        step.action()
            .judge(&preview.before, &preview.after, evidence)
    });
    judged.collect()
}

fn stricter(a: Verdict, b: Verdict) -> Verdict {
    match (a, b) {
        (Verdict::Deny, _) | (_, Verdict::Deny) => Verdict::Deny,
        (Verdict::RequireApproval, _) | (_, Verdict::RequireApproval) => Verdict::RequireApproval,
        (Verdict::Allow, Verdict::Allow) => Verdict::Allow,
    }
}

/// The objects of steps, by the step's index, as policy sees them.
pub(crate) fn objects<'a>(
    previews: impl IntoIterator<Item = (usize, &'a Preview)>,
) -> Vec<ObjectInput> {
    let object = |(step, preview): (usize, &Preview)| ObjectInput {
        step,
        before: preview.before.clone(),
        after: preview.after.clone(),
        evidence: preview.evidence.clone(),
    };
    previews.into_iter().map(object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_diff_names_the_field_by_the_container() {
        let object = |memory: &str, rv: &str| {
            json!({"metadata": {"name": "web", "resourceVersion": rv, "annotations": {"deployment.kubernetes.io/revision": "1"}},
                   "spec": {"containers": [{"name": "app", "resources": {"limits": {"memory": memory}}}]}, "status": {"x": rv}})
        };
        let write = Write::Delete;
        let preview = Preview {
            uid: "u".into(),
            before: object("1Mi", "1"),
            after: object("2Mi", "2"),
            write,
            evidence: None,
            warnings: Vec::new(),
        };
        let changes = preview.changes();
        assert_eq!(changes.len(), 1);
        assert_eq!(
            changes[0].field,
            "spec.containers[app].resources.limits.memory"
        );
        assert_eq!(changes[0].values(), ("1Mi".into(), "2Mi".into()));
    }

    /// What controllers and `kubectl apply` note down is nobody's change, unless the step makes it.
    #[test]
    fn notes_are_hidden_unless_the_step_changes_them() {
        let object = |revision: &str, applied: &str| {
            json!({"metadata": {"name": "web", "annotations": {
                "deployment.kubernetes.io/revision": revision,
                "kubectl.kubernetes.io/last-applied-configuration": applied,
            }}})
        };
        let preview = |before: Value, after: Value| Preview {
            evidence: None,
            uid: "u".into(),
            before,
            after,
            write: Write::Delete,
            warnings: Vec::new(),
        };
        let forged = preview(object("1", "a"), object("1", "b"));
        let changes = forged.changes();
        assert_eq!(changes.len(), 1);
        let field = "metadata.annotations.kubectl.kubernetes.io/last-applied-configuration";
        assert_eq!(changes[0].field, field);
        // The controller's own note makes nothing stale, the one that the step changes does.
        let state = forged.state(&forged.before);
        assert_eq!(forged.state(&object("2", "a")), state);
        assert_ne!(forged.state(&object("1", "c")), state);
        assert!(forged.is_as_approved(&object("2", "b")));
        assert!(!forged.is_as_approved(&object("1", "a")));
        // Of a step that changes none of them, everything is as it always was.
        let plain = preview(object("1", "a"), object("1", "a"));
        assert_eq!(plain.state(&plain.before), desired_state(&plain.before));
        let revised = preview(object("1", "a"), object("9", "a"));
        assert_eq!(revised.changes().len(), 1);
    }

    #[test]
    fn values_that_look_secret_are_not_shown() {
        let change = Change {
            field: "spec.template.spec.containers[app].env[DB_PASSWORD].value".into(),
            before: None,
            after: Some(json!("hunter2")),
        };
        assert_eq!(change.values().1, "[redacted]");
    }
}
