//! Room 1: a host's JSON, or the scanner's findings, become an [`Incident`], redacted and bounded.
//!
//! The shapes are those that the Python host `argus-ops` 0.4 serialises; fields may be added, none renamed.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::Digest;
use crate::redact::{MAX_ENTRIES, Redactor, redact};
mod cause;
pub use cause::Cause;
mod correlation;
pub(crate) use correlation::groups;
mod export;
mod scan;
pub use scan::{Runs, Scan, ScanError, Scanner, Watching, Workload};

/// The largest incident that is read, in bytes of JSON.
pub const MAX_INCIDENT_BYTES: usize = 1 << 20;
/// The most findings in one incident.
const MAX_FINDINGS: usize = 500;

/// Why a text is no incident.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IncidentError {
    /// More bytes than [`MAX_INCIDENT_BYTES`].
    #[error(
        "the incident has {0} bytes, at most {MAX_INCIDENT_BYTES} are read: send fewer findings or less `raw_data`"
    )]
    TooLarge(usize),
    /// A field is missing, misspelt or of another shape.
    #[error("the incident is malformed at `{field}`")]
    Malformed {
        /// The path of the field, such as `findings[0].severity`.
        field: String,
        /// What was expected.
        #[source]
        source: serde_json::Error,
    },
    /// A value is out of its bounds.
    #[error("the incident's `{field}` {problem}")]
    OutOfBounds {
        /// The field's name.
        field: &'static str,
        /// What is wrong, with the bound.
        problem: String,
    },
}

/// The id that the host gave an incident: 1 to 128 letters, digits, `-`, `_`, `.` or `:`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IncidentId(String);

impl IncidentId {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`IncidentError::OutOfBounds`] for anything but 1 to 128 of the characters above.
    pub fn new(text: impl Into<String>) -> Result<Self, IncidentError> {
        let text = text.into();
        let clean = text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c));
        if clean && (1..=128).contains(&text.len()) {
            return Ok(Self(text));
        }
        Err(IncidentError::OutOfBounds {
            field: "incident_id",
            problem: "must be 1 to 128 letters, digits, `-`, `_`, `.` or `:`".into(),
        })
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for IncidentId {
    type Error = IncidentError;
    fn try_from(text: String) -> Result<Self, IncidentError> {
        Self::new(text)
    }
}

impl From<IncidentId> for String {
    fn from(id: IncidentId) -> Self {
        id.0
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for IncidentId {
    fn schema_name() -> Cow<'static, str> {
        "IncidentId".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$" })
    }
}

/// How bad a finding is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Nothing to do.
    Info,
    /// Worth a look.
    Low,
    /// Something is degraded.
    Medium,
    /// Something doesn't work.
    High,
    /// Everything depends on it.
    Critical,
}

/// What a finding is about; argus-ops' categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "each name is its own description")]
pub enum Category {
    Resource,
    PodHealth,
    NodeHealth,
    Certificate,
    Security,
    Connectivity,
    Storage,
    Cronjob,
    NetworkPolicy,
    Configuration,
    Custom,
}

/// An object of the cluster, as a finding names it.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct ObjectRef {
    /// The kind, such as `Deployment`.
    pub kind: String,
    /// The namespace; empty for what belongs to none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)?;
        match self.namespace.as_str() {
            "" => Ok(()),
            namespace => write!(f, " in namespace {namespace}"),
        }
    }
}

/// The Deployment that a pod's name speaks of, `<deployment>-<hash>-<suffix>`.
pub(crate) fn owner_of_pod(pod: &str) -> Option<&str> {
    let (rest, suffix) = pod.rsplit_once('-')?;
    let (name, hash) = rest.rsplit_once('-')?;
    let matches = suffix.len() == 5
        && is_generated(suffix)
        && (6..=10).contains(&hash.len())
        && is_generated(hash);
    matches.then_some(name)
}

/// One detected anomaly. Units and meaning of `metrics` are the analyzer's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The finding's id; the scanner's ids are the same in every scan of the same fault.
    pub finding_id: String,
    /// What it is about.
    pub category: Category,
    /// How bad it is.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// A sentence or two in plain English.
    pub description: String,
    /// Where: `k8s://<namespace>/<pod>/<container>`, as argus-ops writes it.
    pub target: String,
    /// `kubernetes` for all that Argus acts on.
    pub infra_type: String,
    /// What was seen.
    #[serde(default)]
    pub evidence: Vec<String>,
    /// Numbers that were measured.
    #[serde(default)]
    pub metrics: Map<String, Value>,
    /// When it was seen.
    #[serde(default = "Timestamp::now")]
    pub timestamp: Timestamp,
    /// Whatever else the analyzer knows.
    #[serde(default)]
    pub raw_data: Map<String, Value>,
    /// The workload that owns the target; filled by Argus' scanner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<ObjectRef>,
    /// Other objects that it may come from, such as a pod's node; filled by Argus' scanner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<ObjectRef>,
    /// The recognised fault; filled by Argus' scanner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// What a plan and its judges have to know of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields of `Finding`")]
pub struct FindingSummary {
    pub finding_id: String,
    pub category: Category,
    pub severity: Severity,
    pub title: String,
    pub target: String,
    pub cause: Option<Cause>,
    /// The owner of the target, and what it may come from; empty where nobody knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectRef>,
}

impl FindingSummary {
    /// Whether the finding is about this object: it names it, as its owner, as what it may come from, or by its target, which may be
    /// a pod of it.
    pub(crate) fn is_about(&self, kind: &str, namespace: &str, name: &str) -> bool {
        let named = self.objects.iter().any(|object| {
            object.kind == kind && object.namespace == namespace && object.name == name
        });
        let mut parts = self
            .target
            .strip_prefix("k8s://")
            .unwrap_or_default()
            .split('/');
        let (in_namespace, target) = (parts.next() == Some(namespace), parts.next());
        let is_target = target.is_some_and(|target| target == name || is_pod_of(target, name));
        named || (in_namespace && is_target)
    }
}

/// Whether a pod has the name that Kubernetes gives to pods of a workload: the workload's, and one or two parts that are
/// generated, or numbers.
fn is_pod_of(pod: &str, workload: &str) -> bool {
    let rest = pod
        .strip_prefix(workload)
        .and_then(|rest| rest.strip_prefix('-'));
    let made = |part: &str| is_generated(part) || part.bytes().all(|byte| byte.is_ascii_digit());
    rest.is_some_and(|rest| {
        let mut parts = rest.split('-');
        parts.clone().count() <= 2 && parts.all(|part| !part.is_empty() && made(part))
    })
}

/// Whether Kubernetes may have made this part of a name: it makes them of consonants and digits only.
fn is_generated(text: &str) -> bool {
    text.chars()
        .all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c))
}

/// What an AI, or a person, thinks is the cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// The diagnosis' id.
    pub diagnosis_id: String,
    /// The findings that it explains.
    #[serde(default)]
    pub finding_ids: Vec<String>,
    /// The cause in one line.
    pub root_cause: String,
    /// The cause in plain English.
    pub explanation: String,
    /// From 0 to 1.
    #[serde(default)]
    pub confidence: f64,
    /// What to do, in words.
    #[serde(default)]
    pub recommendations: Vec<String>,
    /// Objects that are involved.
    #[serde(default)]
    pub related_resources: Vec<String>,
    /// The model that said so.
    #[serde(default)]
    pub model_used: String,
    /// Tokens that it took.
    #[serde(default)]
    pub tokens_used: u64,
    /// What it cost, in US dollars.
    #[serde(default)]
    pub cost_usd: f64,
    /// When.
    #[serde(default = "Timestamp::now")]
    pub timestamp: Timestamp,
}

impl Diagnosis {
    /// One of these findings that says nothing yet; its id is the same for the same findings.
    pub(crate) fn about(findings: &[Finding]) -> Self {
        let ids: Vec<String> = findings.iter().map(|f| f.finding_id.clone()).collect();
        let digest = Digest::of_bytes(ids.join(" ").as_bytes()).to_string();
        let mut resources: Vec<String> = findings.iter().map(|f| f.target.clone()).collect();
        resources.dedup();
        Self {
            diagnosis_id: format!("DIAG-{}", digest.get(7..19).unwrap_or(&digest)),
            finding_ids: ids,
            root_cause: String::new(),
            explanation: String::new(),
            confidence: 0.0,
            recommendations: Vec::new(),
            related_resources: resources,
            model_used: String::new(),
            tokens_used: 0,
            cost_usd: 0.0,
            timestamp: Timestamp::now(),
        }
    }
}

/// What is wrong, with its evidence: the walk starts here.
///
/// # Guarantees
/// Every text in it went through [`redact`](crate::redact()), and every list is bounded.
///
/// # Example
/// ```
/// use argus_core::Incident;
/// let error = Incident::from_json(r#"{"incident_id": "INC-1", "findings": [{"finding_id": "F"}]}"#).unwrap_err();
/// assert_eq!(error.to_string(), "the incident is malformed at `findings[0]`");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Incident {
    incident_id: IncidentId,
    findings: Vec<Finding>,
    diagnosis: Option<Diagnosis>,
    status: String,
    created_at: Timestamp,
    resolved_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct RawIncident {
    incident_id: IncidentId,
    #[serde(default)]
    findings: Vec<Finding>,
    #[serde(default)]
    diagnosis: Option<Diagnosis>,
    #[serde(default = "open")]
    status: String,
    #[serde(default = "Timestamp::now")]
    created_at: Timestamp,
    #[serde(default)]
    resolved_at: Option<Timestamp>,
}

fn open() -> String {
    "open".into()
}

impl Incident {
    /// What plans and their judges have to know of its findings.
    pub(crate) fn summaries(&self) -> Vec<FindingSummary> {
        let summary = |finding: &Finding| FindingSummary {
            finding_id: finding.finding_id.clone(),
            category: finding.category,
            severity: finding.severity,
            title: finding.title.clone(),
            target: finding.target.clone(),
            cause: finding.cause,
            objects: finding
                .owner
                .iter()
                .chain(&finding.related)
                .cloned()
                .collect(),
        };
        self.findings.iter().map(summary).collect()
    }

    /// Reads the JSON that argus-ops serialises.
    ///
    /// # Errors
    /// [`IncidentError`] names the field.
    pub fn from_json(text: &str) -> Result<Self, IncidentError> {
        if text.len() > MAX_INCIDENT_BYTES {
            return Err(IncidentError::TooLarge(text.len()));
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let raw: RawIncident = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            IncidentError::Malformed {
                field: error.path().to_string(),
                source: error.into_inner(),
            }
        })?;
        json.end().map_err(|source| IncidentError::Malformed {
            field: "end of the document".into(),
            source,
        })?;
        Self::check(raw)
    }

    /// An open incident of findings that belong together.
    ///
    /// # Errors
    /// [`IncidentError::OutOfBounds`] for more findings than an incident may hold.
    pub fn new(
        incident_id: IncidentId,
        findings: Vec<Finding>,
        diagnosis: Option<Diagnosis>,
    ) -> Result<Self, IncidentError> {
        Self::check(RawIncident {
            incident_id,
            findings,
            diagnosis,
            status: open(),
            created_at: Timestamp::now(),
            resolved_at: None,
        })
    }

    /// Findings as incidents, in the order of the findings. Together are those about one object, and those that may come from what is
    /// wrong with another: the apps of a node that doesn't answer are one incident, not one each. Causes stand before their symptoms.
    ///
    /// # Errors
    /// [`IncidentError::OutOfBounds`] for more findings about one object than an incident may hold.
    ///
    /// # Example
    /// ```
    /// # use argus_core::{Finding, Incident};
    /// # use serde_json::json;
    /// let finding = |id: &str, cause: &str, owner: serde_json::Value, related: serde_json::Value| serde_json::from_value::<Finding>(json!({
    ///     "finding_id": id, "category": "pod_health", "severity": "high", "infra_type": "kubernetes", "title": id, "description": "",
    ///     "target": "k8s://shop/web", "cause": cause, "owner": owner, "related": related,
    /// }));
    /// let node = json!({ "kind": "Node", "namespace": "", "name": "n1" });
    /// let web = json!({ "kind": "Deployment", "namespace": "shop", "name": "web" });
    /// let stuck = finding("stuck", "pod_wedged", web, json!([node]))?;
    /// let down = finding("down", "node_not_ready", node, json!([]))?;
    /// let incidents = Incident::correlate(vec![stuck, down])?;
    /// assert_eq!(incidents.len(), 1);
    /// assert_eq!(incidents[0].findings()[0].finding_id, "down");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn correlate(findings: Vec<Finding>) -> Result<Vec<Self>, IncidentError> {
        let groups = groups(findings).into_iter();
        let incident = |(about, findings): (String, Vec<Finding>)| {
            let digest = Digest::of_bytes(about.as_bytes()).to_string();
            let id = IncidentId::new(format!("INC-{}", digest.get(7..19).unwrap_or(&digest)))?;
            Self::new(id, findings, None)
        };
        groups.map(incident).collect()
    }

    fn check(raw: RawIncident) -> Result<Self, IncidentError> {
        if raw.findings.len() > MAX_FINDINGS {
            let problem = format!(
                "holds {} findings, at most {MAX_FINDINGS} are taken",
                raw.findings.len()
            );
            return Err(IncidentError::OutOfBounds {
                field: "findings",
                problem,
            });
        }
        if raw
            .diagnosis
            .as_ref()
            .is_some_and(|d| !(0.0..=1.0).contains(&d.confidence))
        {
            return Err(IncidentError::OutOfBounds {
                field: "diagnosis.confidence",
                problem: "must be between 0 and 1".into(),
            });
        }
        let mut redactor = Redactor::default();
        Ok(Self {
            incident_id: raw.incident_id,
            findings: clean_findings(raw.findings, &mut redactor),
            diagnosis: raw
                .diagnosis
                .map(|diagnosis| clean_diagnosis(diagnosis, &mut redactor)),
            status: redact(&raw.status),
            created_at: raw.created_at,
            resolved_at: raw.resolved_at,
        })
    }

    /// The host's id.
    #[must_use]
    pub fn incident_id(&self) -> &IncidentId {
        &self.incident_id
    }

    /// What was found.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The same with more said in its findings.
    #[cfg(feature = "kube")]
    pub(crate) fn with_findings(self, findings: Vec<Finding>) -> Self {
        Self {
            findings: clean_findings(findings, &mut Redactor::default()),
            ..self
        }
    }

    /// The same with what somebody thinks is the cause.
    #[must_use]
    pub fn diagnosed(mut self, diagnosis: Diagnosis) -> Self {
        self.diagnosis = Some(clean_diagnosis(diagnosis, &mut Redactor::default()));
        self
    }

    /// What it was diagnosed as.
    #[must_use]
    pub fn diagnosis(&self) -> Option<&Diagnosis> {
        self.diagnosis.as_ref()
    }

    /// `open` until the host says otherwise.
    #[must_use]
    pub fn status(&self) -> &str {
        &self.status
    }
}

impl Finding {
    /// The id that one fault of one object has in every scan.
    #[must_use]
    pub fn stable_id(cause: Cause, object: &ObjectRef, container: &str) -> String {
        let digest = Digest::of_bytes(
            format!(
                "{cause:?}\0{}\0{}\0{}\0{container}",
                object.kind, object.namespace, object.name
            )
            .as_bytes(),
        );
        let hex = digest.to_string();
        format!("ARGUS-{}", hex.get(7..19).unwrap_or(&hex))
    }
}

fn clean_findings(findings: Vec<Finding>, redactor: &mut Redactor) -> Vec<Finding> {
    let findings = findings.into_iter();
    findings
        .map(|finding| clean_finding(finding, redactor))
        .collect()
}

fn clean_object(object: ObjectRef, redactor: &mut Redactor) -> ObjectRef {
    ObjectRef {
        kind: redactor.name(&object.kind),
        namespace: redactor.name(&object.namespace),
        name: redactor.name(&object.name),
    }
}

fn clean_finding(finding: Finding, redactor: &mut Redactor) -> Finding {
    let related = finding.related.into_iter().take(MAX_ENTRIES);
    Finding {
        finding_id: redactor.text(&finding.finding_id),
        title: redactor.text(&finding.title),
        description: redactor.text(&finding.description),
        target: redactor.text(&finding.target),
        infra_type: redactor.text(&finding.infra_type),
        evidence: redactor.list(&finding.evidence),
        metrics: redactor.map(finding.metrics),
        raw_data: redactor.map(finding.raw_data),
        owner: finding.owner.map(|owner| clean_object(owner, redactor)),
        related: related
            .map(|object| clean_object(object, redactor))
            .collect(),
        ..finding
    }
}

fn clean_diagnosis(diagnosis: Diagnosis, redactor: &mut Redactor) -> Diagnosis {
    Diagnosis {
        diagnosis_id: redactor.text(&diagnosis.diagnosis_id),
        finding_ids: redactor.list(&diagnosis.finding_ids),
        root_cause: redactor.text(&diagnosis.root_cause),
        explanation: redactor.text(&diagnosis.explanation),
        recommendations: redactor.list(&diagnosis.recommendations),
        related_resources: redactor.list(&diagnosis.related_resources),
        model_used: redactor.text(&diagnosis.model_used),
        ..diagnosis
    }
}
