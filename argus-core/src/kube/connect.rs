//! Finding a cluster: a kubeconfig that the host names, or the one that the process runs in.

use std::path::Path;

use ::kube::config::{KubeConfigOptions, Kubeconfig};
use ::kube::{Client, Config};

use super::Kube;

/// Why there is no connection to a cluster.
#[derive(Debug, thiserror::Error)]
#[error("no connection to the cluster: {problem}")]
pub struct ConnectError {
    problem: &'static str,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

fn because<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    problem: &'static str,
) -> impl Fn(E) -> ConnectError {
    move |source| ConnectError {
        problem,
        source: source.into(),
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
        let file = Kubeconfig::read_from(path).map_err(because("the kubeconfig can't be read"))?;
        let options = KubeConfigOptions {
            context,
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(file, &options).await;
        let config = config.map_err(because("the kubeconfig can't be used"))?;
        let client = Client::try_from(config);
        Ok(Self::new(
            client.map_err(because("no client can be made of it"))?,
        ))
    }

    /// The cluster that this process runs in, as its service account. Must be called inside of a Tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`] outside of a cluster.
    pub fn in_cluster() -> Result<Self, ConnectError> {
        let config = Config::incluster();
        let config = config.map_err(because("this process doesn't run in a cluster"))?;
        let client = Client::try_from(config);
        Ok(Self::new(client.map_err(because(
            "no client can be made of the service account",
        ))?))
    }
}
