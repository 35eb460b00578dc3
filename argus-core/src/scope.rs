//! The namespaces that a host lets Argus work in, and what the host switched on.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{DnsLabel, NameError};

/// Why a list of namespaces is no scope.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// No namespace was named; there is no way to say "all".
    #[error("the scope names no namespace: name each namespace that Argus may work in")]
    Empty,
    /// One of the names isn't a namespace.
    #[error("the scope names something that is no namespace")]
    Name(#[from] NameError),
}

/// The namespaces that Argus may read and change: each by name, never "all".
///
/// # Example
/// ```
/// use argus_core::Scope;
/// let scope = Scope::namespaces(["shop", "billing"])?;
/// assert!(scope.contains("shop"));
/// assert!(!scope.contains("kube-system"));
/// assert!(Scope::namespaces([""; 0]).is_err());
/// # Ok::<(), argus_core::ScopeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "BTreeSet<DnsLabel>", into = "BTreeSet<DnsLabel>")]
#[schemars(with = "BTreeSet<DnsLabel>")]
pub struct Scope(BTreeSet<DnsLabel>);

impl Scope {
    /// A scope of these namespaces.
    ///
    /// # Errors
    /// [`ScopeError`] when none is given or one can't be a namespace.
    pub fn namespaces<N: Into<String>>(
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, ScopeError> {
        names
            .into_iter()
            .map(DnsLabel::new)
            .collect::<Result<BTreeSet<_>, _>>()?
            .try_into()
    }

    /// Whether `namespace` is in scope.
    #[must_use]
    pub fn contains(&self, namespace: &str) -> bool {
        self.0.iter().any(|name| name.as_str() == namespace)
    }

    /// The namespaces, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(DnsLabel::as_str)
    }
}

impl TryFrom<BTreeSet<DnsLabel>> for Scope {
    type Error = ScopeError;
    fn try_from(names: BTreeSet<DnsLabel>) -> Result<Self, ScopeError> {
        if names.is_empty() {
            Err(ScopeError::Empty)
        } else {
            Ok(Self(names))
        }
    }
}

impl From<Scope> for BTreeSet<DnsLabel> {
    fn from(scope: Scope) -> Self {
        scope.0
    }
}

/// The `remediation` section of a host's configuration. Everything is off unless the host says so.
///
/// # Example
/// ```
/// use argus_core::Settings;
/// let settings: Settings = serde_json::from_str(r#"{"enabled": true}"#)?;
/// assert!(settings.enabled && !settings.allow_high_risk);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether an approved plan may be executed; suggesting and dry runs need no flag.
    pub enabled: bool,
    /// Whether a plan of high risk may be permitted at all; it still needs its approval.
    pub allow_high_risk: bool,
}
