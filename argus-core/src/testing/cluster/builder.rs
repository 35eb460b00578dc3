//! Deployments with a fault, in one line of a test; for any client, so that the same tests run on a real cluster.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Error};
use serde_json::{Map, Value, json};

/// A Deployment with one container, `app`: healthy until told otherwise.
///
/// # Example
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use argus_core::testing::cluster::Cluster;
/// let cluster = Cluster::start();
/// cluster.deployment("shop", "web", "registry.example/web:1").replicas(2).needs_memory("256Mi").memory_limit("128Mi").create().await?;
/// # Ok::<(), kube::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "call `create` or `update`"]
pub struct DeploymentBuilder {
    client: Client,
    namespace: String,
    name: String,
    replicas: u32,
    deadline: u32,
    annotations: Map<String, Value>,
    container: Value,
}

impl DeploymentBuilder {
    /// A Deployment for any cluster that `client` speaks to.
    pub fn new(client: Client, namespace: &str, name: &str, image: &str) -> Self {
        Self {
            client,
            namespace: namespace.into(),
            name: name.into(),
            replicas: 1,
            deadline: 600,
            annotations: Map::new(),
            container: json!({ "name": "app", "image": image }),
        }
    }

    /// How many copies; one by default.
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// The progress deadline in seconds; 600 by default.
    pub fn progress_deadline(mut self, seconds: u32) -> Self {
        self.deadline = seconds;
        self
    }

    /// What the app needs not to be stopped for using too much.
    pub fn needs_memory(self, amount: &str) -> Self {
        self.annotate("needs-memory", amount)
    }

    /// The time that it works until what is wrong with it makes it crash; at once by default.
    pub fn fails_after(self, time: Duration) -> Self {
        self.annotate("fails-after", &time.as_millis().to_string())
    }

    /// The environment variable without which the app crashes.
    pub fn needs_env(self, name: &str) -> Self {
        self.annotate("needs-env", name)
    }

    /// The state of its containers: the annotation `fake-kubelet/state`.
    pub fn state(self, state: &str) -> Self {
        self.annotate("state", state)
    }

    fn annotate(mut self, name: &str, value: &str) -> Self {
        self.annotations
            .insert(format!("fake-kubelet/{name}"), value.into());
        self
    }

    /// The memory limit.
    pub fn memory_limit(mut self, amount: &str) -> Self {
        self.container["resources"] =
            json!({ "limits": { "memory": amount }, "requests": { "memory": "16Mi" } });
        self
    }

    /// The memory request.
    pub fn memory_request(mut self, amount: &str) -> Self {
        self.container["resources"] = json!({ "requests": { "memory": amount } });
        self
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.container["env"] = json!([{ "name": name, "value": value }]);
        self
    }

    /// The ConfigMap that it reads into its environment.
    pub fn env_from(mut self, config_map: &str) -> Self {
        self.container["envFrom"] = json!([{ "configMapRef": { "name": config_map } }]);
        self
    }

    /// The port that it listens on, and the port that its readiness probe asks.
    pub fn ports(mut self, listens: u16, probed: u16) -> Self {
        self.container["ports"] = json!([{ "containerPort": listens }]);
        self.container["readinessProbe"] =
            json!({ "httpGet": { "path": "/healthz", "port": probed }, "periodSeconds": 1 });
        self
    }

    fn object(&self) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": self.name, "namespace": self.namespace },
            "spec": {
                "replicas": self.replicas, "progressDeadlineSeconds": self.deadline, "selector": { "matchLabels": { "app": self.name } },
                "template": {
                    "metadata": { "labels": { "app": self.name }, "annotations": self.annotations },
                    "spec": { "containers": [self.container], "terminationGracePeriodSeconds": 1 },
                },
            },
        })
    }

    /// Creates it, and its namespace where that isn't there.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn create(self) -> Result<Deployment, Error> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        if namespaces.get_opt(&self.namespace).await?.is_none() {
            let namespace =
                serde_json::from_value(json!({ "metadata": { "name": self.namespace } }))
                    .map_err(Error::SerdeError)?;
            namespaces
                .create(&PostParams::default(), &namespace)
                .await?;
        }
        let object = serde_json::from_value(self.object()).map_err(Error::SerdeError)?;
        Api::namespaced(self.client.clone(), &self.namespace)
            .create(&PostParams::default(), &object)
            .await
    }

    /// Replaces the pod template of the Deployment that is there: a rollout.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn update(self) -> Result<Deployment, Error> {
        let object = self.object();
        let patch = json!([
            { "op": "replace", "path": "/spec/template", "value": object.pointer("/spec/template") },
            { "op": "replace", "path": "/spec/progressDeadlineSeconds", "value": self.deadline },
        ]);
        let patch = serde_json::from_value(patch).map_err(Error::SerdeError)?;
        let api: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        api.patch(
            &self.name,
            &PatchParams::default(),
            &Patch::Json::<()>(patch),
        )
        .await
    }
}
