//! A cluster in memory with apps that have faults, for the first minute.

use std::time::Duration;

use argus_core::Kube;
use argus_core::testing::cluster::Cluster;

/// A shop where one app runs out of memory, one has an image that doesn't exist, one is switched off, and one is healthy.
///
/// # Errors
/// When an app can't be made.
pub async fn shop() -> Result<(Cluster, Kube), Box<dyn std::error::Error>> {
    let cluster = Cluster::start();
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
    tokio::time::sleep(Duration::from_millis(1500)).await;
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
    let kube = Kube::new(cluster.client_as("dashboard")).unready_after(Duration::from_secs(1));
    Ok((cluster, kube))
}
