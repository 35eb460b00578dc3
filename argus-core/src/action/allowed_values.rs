//! The values that an allowed change may give to its field, judged by themselves and by what is known of the cluster.

use serde_json::Value;

use super::evidence::Evidence;
use super::field::{FieldChange, Segment, identity};
use super::quantity::Quantity;
use super::{Kind, MAX_REPLICAS, Risk};

/// The values that an allowed change may give to its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AllowedValues {
    /// A number of copies from 1 to [`MAX_REPLICAS`].
    Copies,
    /// A bound of an autoscaler, no lower than the copies that run now.
    CopiesOfAutoscaler,
    /// Another tag or digest of the repository that the container runs, or ran in an earlier revision.
    SameRepository,
    /// A value that the field held in an earlier revision.
    EarlierValue,
    /// An amount; it can't be taken away.
    Amount,
    /// The number or the name of a port.
    Port,
    /// A path of HTTP, such as `/healthz`.
    Path,
    /// `HTTP` or `HTTPS`.
    Scheme,
    /// A name or a word.
    Word,
    /// A number from 0 to 3600, or nothing.
    Times,
    /// A number or a percentage, or nothing.
    Share,
    /// A way of replacing pods that Kubernetes has, such as `RollingUpdate`.
    Strategy,
    /// A schedule of cron.
    Schedule,
    /// Only `false`.
    False,
    /// The moment of a restart, RFC 3339.
    Moment,
    /// A ConfigMap that is there.
    ConfigMap,
    /// A key that its ConfigMap has.
    ConfigMapKey,
    /// A claim for storage that is there.
    Claim,
    /// A Service that is there, with the port that is named.
    ServiceOfBackend,
    /// Labels that find exactly one workload's pods, where those before found none or too many.
    Selector,
    /// A workload that is there, where the one before isn't.
    ScaleTarget,
    /// Labels or rules that at least one node meets.
    Nodes,
    /// Rules about other pods that demand nothing new.
    NothingRequired,
    /// Tolerations of taints that are named.
    NamedToleration,
}

impl AllowedValues {
    /// The values in words, for documentation and for models.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Copies => "a number from 1 to 1000",
            Self::CopiesOfAutoscaler => "a number from 1 to 1000, no lower than what runs now",
            Self::SameRepository => {
                "another tag or digest of the repository that runs there, or ran there in an earlier revision"
            }
            Self::EarlierValue => "what it was in an earlier revision",
            Self::Amount => "an amount such as `512Mi` or `500m`; it is never taken away",
            Self::Port => "a port's number or name",
            Self::Path => "a path such as `/healthz`",
            Self::Scheme => "`HTTP` or `HTTPS`",
            Self::Word => "a name",
            Self::Times => "a number from 0 to 3600",
            Self::Share => "a number or a percentage; it may be taken away",
            Self::Strategy => "`RollingUpdate`, `Recreate` or `OnDelete`, as the kind has it",
            Self::Schedule => "a cron schedule such as `*/5 * * * *`",
            Self::False => "`false`",
            Self::Moment => "the time of the restart",
            Self::ConfigMap => "a ConfigMap that is there",
            Self::ConfigMapKey => "a key that its ConfigMap has",
            Self::Claim => "a claim for storage that is there",
            Self::ServiceOfBackend => "a Service that is there, and a port that it has",
            Self::Selector => {
                "labels that find exactly one workload's pods, where those before found none, or those of several"
            }
            Self::ScaleTarget => "a workload that is there, where the one before is not",
            Self::Nodes => "what at least one node meets",
            Self::NothingRequired => "rules that demand nothing new",
            Self::NamedToleration => "the taint's key is named, and is none of the cluster's own",
        }
    }
}

/// A changed field with what is known about it.
pub(super) struct Candidate<'a> {
    pub(super) change: &'a FieldChange<'a>,
    pub(super) kind: Kind,
    pub(super) before: &'a Value,
    pub(super) after: &'a Value,
    pub(super) evidence: &'a Evidence,
}

impl AllowedValues {
    /// True for a value that can be one of these, before anything is known of the cluster; none takes the field away.
    pub(super) fn admits(self, value: Option<&Value>) -> bool {
        let text = value.and_then(Value::as_str);
        let number = value.and_then(Value::as_u64);
        let short = |most: usize| text.is_some_and(|text| (1..=most).contains(&text.len()));
        match self {
            Self::Copies | Self::CopiesOfAutoscaler => {
                number.is_some_and(|number| (1..=u64::from(MAX_REPLICAS)).contains(&number))
            }
            Self::SameRepository => short(512),
            Self::EarlierValue => value.is_some(),
            Self::Amount => match value {
                Some(Value::String(text)) => Quantity::new(text.as_str()).is_ok(),
                Some(Value::Number(number)) => Quantity::new(number.to_string()).is_ok(),
                _ => false,
            },
            Self::Port => number.is_some_and(|number| (1..=65_535).contains(&number)) || short(63),
            Self::Path => text.is_some_and(|text| text.starts_with('/') && text.len() <= 1024),
            Self::Scheme => matches!(text, Some("HTTP" | "HTTPS")),
            Self::Word | Self::ConfigMap | Self::ConfigMapKey | Self::Claim => short(253),
            Self::Times => value.is_none() || number.is_some_and(|number| number <= 3600),
            Self::Share => match (value, text) {
                (None, _) => true,
                (_, Some(text)) => text
                    .strip_suffix('%')
                    .is_some_and(|number| number.parse::<u8>().is_ok_and(|number| number <= 100)),
                _ => number.is_some_and(|number| number <= u64::from(MAX_REPLICAS)),
            },
            Self::Strategy => matches!(text, Some("RollingUpdate" | "Recreate" | "OnDelete")),
            Self::Schedule => short(128),
            Self::False => value == Some(&Value::Bool(false)),
            Self::Moment => text.is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
            // What a label or a rule means depends on the cluster, also where it goes.
            Self::ServiceOfBackend
            | Self::Selector
            | Self::ScaleTarget
            | Self::Nodes
            | Self::NothingRequired
            | Self::NamedToleration => true,
        }
    }

    /// Judges the change by what is known of the object and of the cluster: its risk, or the reason why it is none of these.
    pub(super) fn judge(self, candidate: &Candidate<'_>, risk: Risk) -> Result<Risk, String> {
        let Candidate {
            change, evidence, ..
        } = candidate;
        let met = |met: bool, why: &str| if met { Ok(risk) } else { Err(why.to_owned()) };
        if !self.admits(change.after) {
            return Err(match self {
                Self::Copies if change.after == Some(&Value::from(0)) => {
                    "every copy of the app would stop".to_owned()
                }
                _ => format!("it may only be {}", self.describe()),
            });
        }
        let text = change.after.and_then(Value::as_str).unwrap_or_default();
        match self {
            Self::Copies => Ok(candidate.risk_of_copies()),
            Self::CopiesOfAutoscaler => {
                let number = |value: Option<&Value>| value.and_then(Value::as_u64);
                let (old, new) = (number(change.before), number(change.after));
                let running = candidate.before.pointer("/status/currentReplicas");
                let least = number(running).into_iter().chain(old).min();
                met(
                    least.is_some() && new >= least,
                    "fewer copies than run now would be wanted",
                )
            }
            Self::SameRepository => {
                let earlier = evidence.earlier_values.get(&change.path.to_string());
                let known = change
                    .before
                    .into_iter()
                    .chain(earlier.into_iter().flatten());
                let mut known = known.filter_map(Value::as_str).map(repository);
                met(
                    known.any(|known| known == repository(text)),
                    "the image is of a repository that never ran there",
                )
            }
            Self::EarlierValue => {
                let earlier = evidence.earlier_values.get(&change.path.to_string());
                let is_earlier = |value| earlier.is_some_and(|earlier| earlier.contains(value));
                met(
                    change.after.is_some_and(is_earlier),
                    "no earlier revision had that value",
                )
            }
            Self::ConfigMap | Self::ConfigMapKey => {
                let missing = "no ConfigMap of that name, with that key, is known to be there";
                met(candidate.config_map_is_there(), missing)
            }
            Self::Claim => met(
                evidence.claims.contains(text),
                "no claim of that name is known to be there",
            ),
            Self::ServiceOfBackend => met(
                candidate.backend_is_there(),
                "no service of that name, with that port, is known to be there",
            ),
            Self::Selector => {
                let to_one = evidence.selected.as_ref().is_some_and(|[before, after]| {
                    let narrower = before.len() > 1 && after.is_subset(before);
                    after.len() == 1 && (before.is_empty() || narrower)
                });
                met(
                    to_one,
                    "it is not known that the old selector found no app, or several, and the new one finds exactly one",
                )
            }
            Self::ScaleTarget => met(
                evidence.scale_targets == Some([false, true]),
                "it is not known that the old target is gone and the new one is there",
            ),
            Self::Nodes => met(
                candidate.has_nodes(),
                "it is not known that a node takes the app then",
            ),
            Self::NothingRequired => {
                let required = change.path.segments().iter().any(|segment| {
                    segment.as_str() == "requiredDuringSchedulingIgnoredDuringExecution"
                });
                met(
                    !required || change.after.is_none(),
                    "it demands something new of other pods",
                )
            }
            Self::NamedToleration => match change.after {
                Some(Value::Array(all)) => met(all.iter().all(is_named), UNNAMED),
                Some(toleration) => met(is_named(toleration), UNNAMED),
                None => met(
                    candidate.has_nodes(),
                    "it is not known that a node takes the app then",
                ),
            },
            _ => Ok(risk),
        }
    }
}

const UNNAMED: &str = "it tolerates taints that it doesn't name, or those of the cluster itself";

/// A toleration of one taint, which isn't one that Kubernetes sets itself.
fn is_named(toleration: &Value) -> bool {
    let key = toleration.get("key").and_then(Value::as_str);
    key.is_some_and(|key| {
        !key.is_empty()
            && !key.starts_with("node.kubernetes.io/")
            && !key.starts_with("node-role.kubernetes.io/")
    })
}

/// An image's registry and name, without tag and digest.
pub(crate) fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

impl<'a> Candidate<'a> {
    /// More copies than half as many again, fewer than now, or a number that something else sets: never low.
    fn risk_of_copies(&self) -> Risk {
        let number = |value: Option<&Value>| value.and_then(Value::as_u64);
        let old = number(self.change.before).unwrap_or(1);
        let new = number(self.change.after).unwrap_or(0);
        let alone = self
            .evidence
            .autoscalers
            .as_ref()
            .is_some_and(|autoscalers| autoscalers.is_empty());
        let little = new >= old && new.saturating_mul(2) <= old.saturating_mul(3);
        match alone && little && !is_controlled(self.before) {
            true => Risk::Low,
            false => Risk::Medium,
        }
    }

    /// The part of the result that holds the field, so many levels above it.
    fn above(&self, levels: usize) -> Option<&'a Value> {
        let segments = self.change.path.segments();
        let kept = segments.len().checked_sub(levels)?;
        resolve(self.after, segments.get(..kept)?)
    }

    fn config_map_is_there(&self) -> bool {
        // The reference itself, or the volume's source that an item is of.
        let is_item = self
            .change
            .path
            .segments()
            .iter()
            .any(|segment| segment.as_str() == "items");
        let reference = self.above(if is_item { 3 } else { 1 });
        let name = reference.and_then(|reference| reference.get("name")?.as_str());
        let keys = name.and_then(|name| self.evidence.config_maps.get(name));
        let wanted = match is_item {
            true => self.change.after,
            false => reference.and_then(|reference| reference.get("key")),
        };
        keys.is_some_and(|keys| match wanted.and_then(Value::as_str) {
            Some(key) => keys.contains(key),
            None => true,
        })
    }

    fn backend_is_there(&self) -> bool {
        let levels = match self
            .change
            .path
            .segments()
            .iter()
            .any(|segment| segment.as_str() == "port")
        {
            true => 2,
            false => 1,
        };
        let there = || {
            let service = self.above(levels)?;
            let ports = self
                .evidence
                .service_ports
                .get(service.get("name")?.as_str()?)?;
            let port = service.get("port")?;
            let port = match (port.get("number"), port.get("name")) {
                (Some(number), _) => number.to_string(),
                (None, name) => name?.as_str()?.to_owned(),
            };
            Some(ports.contains(&port))
        };
        there().unwrap_or(false)
    }

    /// Copies of a DaemonSet are one on each node, so that fewer nodes are fewer copies.
    fn has_nodes(&self) -> bool {
        let enough = |[before, after]: [u32; 2]| {
            after >= 1 && (self.kind != Kind::DaemonSet || after >= before)
        };
        self.evidence.nodes.is_some_and(enough)
    }
}

/// The part of an object at a path that names elements by their identity.
pub(crate) fn resolve<'a>(object: &'a Value, path: &[Segment]) -> Option<&'a Value> {
    let mut at = object;
    let mut list = "";
    for segment in path {
        at = match segment {
            Segment::Key(key) => at.get(key)?,
            Segment::Element(element) => {
                let items = at.as_array()?;
                items.iter().enumerate().find_map(|(index, item)| {
                    let identity = identity(list, item).unwrap_or_else(|| index.to_string());
                    (identity == *element).then_some(item)
                })?
            }
        };
        list = segment.as_str();
    }
    Some(at)
}

/// True where something other than people decides what stands in the object: an owner, or the last to set its number of copies.
fn is_controlled(object: &Value) -> bool {
    let list = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let owned = list("/metadata/ownerReferences")
        .any(|owner| owner.get("controller") == Some(&Value::Bool(true)));
    let scaled = list("/metadata/managedFields").any(|fields| {
        let manager = fields
            .get("manager")
            .and_then(Value::as_str)
            .unwrap_or_default();
        fields.get("subresource").and_then(Value::as_str) == Some("scale")
            && fields.pointer("/fieldsV1/f:spec/f:replicas").is_some()
            && !(manager.starts_with("kubectl") || manager == "argus")
    });
    owned || scaled
}
