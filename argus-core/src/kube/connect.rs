//! Finding a cluster: a kubeconfig that the host names, or the one that the process runs in.

use std::path::Path;

use ::kube::config::{KubeConfigOptions, Kubeconfig};
use ::kube::{Client, Config};

use super::Kube;

/// Why there is no connection to a cluster. It never repeats the file, which may be a wrong one with secrets in it.
#[derive(Debug, thiserror::Error)]
#[error("{what} can't be used: {why}")]
pub struct ConnectError {
    what: String,
    why: String,
}

impl ConnectError {
    fn new(what: &str, error: &dyn std::error::Error) -> Self {
        // Parsers show the place in the file below their first line.
        let text = error.to_string();
        Self {
            what: what.to_owned(),
            why: crate::redact::redact(text.lines().next().unwrap_or_default()),
        }
    }
}

impl Kube {
    /// The cluster of a kubeconfig file: of its current context, or of `context`. Must be called inside of a Tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`] for a file that is no kubeconfig, or that lacks the context. The cluster itself isn't asked yet.
    pub async fn from_kubeconfig(
        path: impl AsRef<Path> + Send,
        context: Option<String>,
    ) -> Result<Self, ConnectError> {
        let what = format!("the kubeconfig `{}`", path.as_ref().display());
        let unusable = |error: &dyn std::error::Error| ConnectError::new(&what, error);
        let file = Kubeconfig::read_from(path).map_err(|error| unusable(&error))?;
        let options = KubeConfigOptions {
            context,
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(file, &options).await;
        let config = config.map_err(|error| unusable(&error))?;
        let client = Client::try_from(config).map_err(|error| unusable(&error))?;
        Ok(Self::new(client))
    }

    /// The cluster that this process runs in, as its service account. Must be called inside of a Tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`] outside of a cluster.
    pub fn in_cluster() -> Result<Self, ConnectError> {
        let unusable = |error: &dyn std::error::Error| {
            ConnectError::new("the service account of this process", error)
        };
        let config = Config::incluster().map_err(|error| unusable(&error))?;
        let client = Client::try_from(config).map_err(|error| unusable(&error))?;
        Ok(Self::new(client))
    }
}
