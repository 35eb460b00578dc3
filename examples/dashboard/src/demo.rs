//! A cluster in memory with apps that have faults, for the first minute.

use std::time::Duration;

use argus_core::testing::cluster::{Cluster, Served};
use argus_core::{Kube, Scanner, Scope};

/// A cluster in memory, and its API on the loopback.
pub struct Demo {
    /// The cluster; it ends when this is dropped.
    pub cluster: Cluster,
    /// Where kubectl finds it.
    pub served: Served,
    /// The same for Argus.
    pub kube: Kube,
}

/// A shop where one app runs out of memory, one has an image that doesn't exist, one is switched off, and one is healthy.
///
/// # Errors
/// When an app can't be made.
pub async fn shop() -> Result<Demo, Box<dyn std::error::Error>> {
    let cluster = Cluster::with_start_time(Duration::from_millis(700));
    let kube = Kube::new(cluster.client_as("dashboard")).unready_after(Duration::from_secs(1));
    let served = cluster.serve().await?;
    let image = |name: &str| format!("registry.example/{name}");
    cluster
        .deployment("shop", "web", &image("web:4.2"))
        .replicas(3)
        .create()
        .await?;
    cluster
        .deployment("shop", "checkout", &image("checkout:2.0"))
        .replicas(2)
        .create()
        .await?;
    // The old version of checkout has to have run before the new one can be known to be broken.
    while !all_ready(&kube).await? {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster
        .deployment("shop", "shopify-rpa", &image("rpa:1.7"))
        .needs_memory("200Mi")
        .memory_limit("128Mi")
        .create()
        .await?;
    cluster
        .deployment("shop", "checkout", &image("checkout:does-not-exist"))
        .replicas(2)
        .update()
        .await?;
    cluster
        .deployment("shop", "newsletter", &image("newsletter:3"))
        .replicas(0)
        .create()
        .await?;
    Ok(Demo {
        cluster,
        served,
        kube,
    })
}

async fn all_ready(kube: &Kube) -> Result<bool, Box<dyn std::error::Error>> {
    let scan = kube.scan(&Scope::namespaces(["shop"])?).await?;
    Ok(scan.workloads.iter().all(|app| app.ready >= app.desired))
}
