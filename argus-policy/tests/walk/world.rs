//! Where the walk is walked: a cluster in memory, a real API server, or one with a real node; the same calls, the same
//! answers.

use std::any::Any;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use argus_core::testing::cluster::{Cluster, DeploymentBuilder};
use argus_core::testing::{MemoryAudit, SHORT_HOLD};
use argus_core::{
    Answer, Budget, Builder, DryRun, Finding, HoldBounds, Incident, IncidentId, Kind, Kube,
    LlmProvider, MemoryPlans, Outcome, Remediator, RemediatorError, Roles, Scanner, Scope,
    Settings,
};
use argus_policy::RegoEngine;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{
    ApiResource, DynamicObject, GetParams, ListParams, Patch, PatchParams, PostParams, TypeMeta,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::sync::RwLock;

/// Held alone by whoever changes what all namespaces see, such as a node.
static CLUSTER: RwLock<()> = RwLock::const_new(());

/// The same of the cluster with a real node.
static NODE: RwLock<()> = RwLock::const_new(());

/// A write of Argus as the API server's audit log has it: verb, path without the namespace's prefix, dry run, status.
pub(crate) type Write = (String, String, bool, u16);

pub(crate) struct World {
    admin: Client,
    argus: Client,
    namespace: String,
    cluster: ClusterKind,
    pub audit: MemoryAudit,
    /// What was made that belongs to no namespace.
    of_the_cluster: Mutex<Vec<Value>>,
    _turn: Box<dyn Any + Send + Sync>,
}

enum ClusterKind {
    Memory(Cluster),
    Real { audit_log: PathBuf, has_node: bool },
}

/// An API server that `.ci` started: the variables that it printed, and what makes it.
struct Server {
    kubeconfig: &'static str,
    audit_log: &'static str,
    has_node: bool,
    missing: &'static str,
}

const API_SERVER: Server = Server {
    kubeconfig: "ARGUS_TEST_KUBECONFIG",
    audit_log: "ARGUS_TEST_AUDIT_LOG",
    has_node: false,
    missing: "no real API server; `make control-plane` builds and starts one (it needs Go and Debian's etcd-server)",
};

const REAL_NODE: Server = Server {
    kubeconfig: "ARGUS_TEST_NODE_KUBECONFIG",
    audit_log: "ARGUS_TEST_NODE_AUDIT_LOG",
    has_node: true,
    missing: "no real node; `.ci/node/control up` builds and starts one (it needs root, Go and Debian's runc)",
};

impl World {
    pub(crate) async fn memory() -> Self {
        let cluster = Cluster::start();
        let world = Self {
            admin: cluster.client(),
            argus: cluster.client_as("argus"),
            namespace: "shop".into(),
            cluster: ClusterKind::Memory(cluster),
            audit: MemoryAudit::new(),
            of_the_cluster: Mutex::default(),
            _turn: Box::new(()),
        };
        world.create_namespace().await;
        world
    }

    /// The API server of `ARGUS_TEST_KUBECONFIG`, with a namespace and an identity of its own.
    pub(crate) async fn real() -> Option<Self> {
        Self::on(&API_SERVER, CLUSTER.read().await).await
    }

    /// The same while no other test uses it.
    pub(crate) async fn real_alone() -> Option<Self> {
        Self::on(&API_SERVER, CLUSTER.write().await).await
    }

    /// The API server of `ARGUS_TEST_NODE_KUBECONFIG`, whose containers really run.
    pub(crate) async fn node() -> Option<Self> {
        Self::on(&REAL_NODE, NODE.read().await).await
    }

    /// The same while no other test uses it.
    pub(crate) async fn node_alone() -> Option<Self> {
        Self::on(&REAL_NODE, NODE.write().await).await
    }

    async fn on(server: &Server, turn: impl Any + Send + Sync) -> Option<Self> {
        let (Some(kubeconfig), Some(audit_log)) = (
            std::env::var_os(server.kubeconfig),
            std::env::var_os(server.audit_log),
        ) else {
            let is_forbidden = server.has_node && std::env::var_os("ARGUS_TEST_NODE").is_some();
            assert!(
                is_forbidden || std::env::var_os("ARGUS_TEST_ALL").is_none(),
                "ARGUS_TEST_ALL is set, but there is {}: use `make test`",
                server.missing
            );
            eprintln!("skipped: {}", server.missing);
            return None;
        };
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let namespace = format!(
            "argus-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let connect = async |kubeconfig: Kubeconfig| {
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
            let mut config = config.unwrap();
            // It is on this machine.
            config.proxy_url = None;
            Client::try_from(config).unwrap()
        };
        let admin = connect(kubeconfig.clone()).await;
        let mut world = Self {
            argus: admin.clone(),
            admin,
            namespace,
            cluster: ClusterKind::Real {
                audit_log: audit_log.into(),
                has_node: server.has_node,
            },
            audit: MemoryAudit::new(),
            of_the_cluster: Mutex::default(),
            _turn: Box::new(turn),
        };
        world.create_namespace().await;
        let token = world.create_identity().await;
        let mut as_argus = serde_json::to_value(kubeconfig).unwrap();
        as_argus["users"][0]["user"] = json!({ "token": token });
        world.argus = connect(serde_json::from_value(as_argus).unwrap()).await;
        Some(world)
    }

    async fn create_namespace(&self) {
        let namespace =
            serde_json::from_value(json!({ "metadata": { "name": self.namespace } })).unwrap();
        Api::<Namespace>::all(self.admin.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
    }

    /// What Argus may do on the real API server.
    pub(crate) fn roles(&self) -> Roles {
        Roles::new(&self.scope())
            .changing(Kind::StatefulSet)
            .changing(Kind::Service)
            .changing(Kind::CronJob)
            .changing(Kind::Ingress)
            .changing(Kind::HorizontalPodAutoscaler)
            .changing(Kind::PodDisruptionBudget)
            .seeing_cluster()
            .reading_logs()
    }

    /// A service account with exactly the two Roles that Argus prints, and a token for it.
    async fn create_identity(&self) -> String {
        let account = json!({ "metadata": { "name": "argus", "namespace": self.namespace } });
        let roles = self.roles();
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin.clone(), &self.namespace);
        accounts
            .create(
                &PostParams::default(),
                &serde_json::from_value(account).unwrap(),
            )
            .await
            .unwrap();
        for role in roles.objects(&self.namespace, "argus").unwrap() {
            let of_the_cluster = role["metadata"].get("namespace").is_none();
            if of_the_cluster {
                self.create_of_the_cluster(&role).await;
            } else if role["kind"] == "Role" {
                let role = serde_json::from_value(role).unwrap();
                Api::<Role>::namespaced(self.admin.clone(), &self.namespace)
                    .create(&PostParams::default(), &role)
                    .await
                    .unwrap();
            } else {
                let binding = serde_json::from_value(role).unwrap();
                Api::<RoleBinding>::namespaced(self.admin.clone(), &self.namespace)
                    .create(&PostParams::default(), &binding)
                    .await
                    .unwrap();
            }
        }
        let request: TokenRequest = serde_json::from_value(
            json!({ "metadata": {}, "spec": { "audiences": [], "expirationSeconds": 3600 } }),
        )
        .unwrap();
        accounts
            .create_token_request("argus", &PostParams::default(), &request)
            .await
            .unwrap()
            .status
            .unwrap()
            .token
            .unwrap()
    }

    /// An object of the whole cluster, if another test hasn't made it already.
    async fn create_of_the_cluster(&self, object: &Value) {
        let types: TypeMeta = serde_json::from_value(object.clone()).unwrap();
        let resource = ApiResource::from_gvk(&types.try_into().unwrap());
        let api: Api<DynamicObject> = Api::all_with(self.admin.clone(), &resource);
        let object = serde_json::from_value(object.clone()).unwrap();
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.cluster, ClusterKind::Memory(_))
    }

    /// A fault of a real node takes its time to come back; the others are at once where they are.
    fn hold(&self) -> HoldBounds {
        match self.cluster {
            ClusterKind::Real { has_node: true, .. } => HoldBounds::default(),
            _ => SHORT_HOLD,
        }
    }

    /// Gives Argus what roles have beyond its namespaces.
    pub(crate) async fn give(&self, roles: &Roles) {
        for role in roles.objects(&self.namespace, "argus").unwrap() {
            if role["metadata"].get("namespace").is_none() {
                self.create_of_the_cluster(&role).await;
            }
        }
        // Authorizers learn of it by a watch.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// Lets Argus do everything, everywhere.
    pub(crate) async fn give_full_rights(&self) {
        if let ClusterKind::Real { .. } = self.cluster {
            let binding = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": format!("{}-everything", self.namespace) },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
                "subjects": [{ "kind": "ServiceAccount", "name": "argus", "namespace": self.namespace }],
            });
            self.create_of_the_cluster(&binding).await;
            // Authorizers learn of it by a watch.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// A namespace out of scope, with apps of these names.
    pub(crate) async fn victims(&self, names: &[String]) -> String {
        let victims = format!("{}-victims", self.namespace);
        let namespace = json!({ "metadata": { "name": victims } });
        Api::<Namespace>::all(self.admin.clone())
            .create(
                &PostParams::default(),
                &serde_json::from_value(namespace).unwrap(),
            )
            .await
            .unwrap();
        for name in names {
            let app = DeploymentBuilder::new(self.admin.clone(), &victims, name, "r.example/web:1");
            app.create().await.unwrap();
        }
        victims
    }

    /// That nobody changed the apps of a namespace since they were made.
    pub(crate) async fn assert_untouched(&self, namespace: &str) {
        let apps: Api<Deployment> = Api::namespaced(self.admin.clone(), namespace);
        let apps = apps.list(&ListParams::default()).await.unwrap().items;
        assert!(!apps.is_empty());
        for app in apps {
            assert_eq!(app.metadata.generation, Some(1), "{app:?}");
        }
        let namespace = Api::<Namespace>::all(self.admin.clone())
            .get(namespace)
            .await;
        assert_eq!(namespace.unwrap().metadata.deletion_timestamp, None);
    }

    /// One that asks once and doesn't wait long for what doesn't come to rest.
    pub(crate) fn remediator_in_a_hurry(&self, llm: impl LlmProvider + 'static) -> Remediator {
        let kube = self.kube().settle_within(Duration::from_secs(5));
        let once = Budget {
            attempts: 1,
            ..Budget::default()
        };
        let builder = self.builder(llm, kube).budget(once);
        builder.audit(self.audit.clone()).build().unwrap()
    }

    /// Takes the right to change Deployments away from Argus.
    pub(crate) async fn take_patch_away(&self) {
        match &self.cluster {
            ClusterKind::Memory(cluster) => cluster.deny("patch", "deployments"),
            ClusterKind::Real { .. } => {
                let roles: Api<RoleBinding> = Api::namespaced(self.admin.clone(), &self.namespace);
                roles
                    .delete("argus-ops-remediator", &Default::default())
                    .await
                    .unwrap();
                // Authorizers learn of it by a watch.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    /// Takes one rule out of a role, on the real API server.
    pub(crate) async fn take_rule_away(&self, role: &str, rule: usize) {
        let roles: Api<Role> = Api::namespaced(self.admin.clone(), &self.namespace);
        let remove = json!([{ "op": "remove", "path": format!("/rules/{rule}") }]);
        let remove = serde_json::from_value(remove).unwrap();
        roles
            .patch(role, &PatchParams::default(), &Patch::Json::<()>(remove))
            .await
            .unwrap();
        // Authorizers learn of it by a watch.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope::namespaces([self.namespace.as_str()]).unwrap()
    }

    pub(crate) fn kube(&self) -> Kube {
        self.kube_with(&self.argus)
    }

    /// A client with the token of Argus' account.
    #[allow(dead_code, reason = "the tests of `sweep` use it")]
    pub(crate) fn argus(&self) -> Client {
        self.argus.clone()
    }

    pub(crate) fn kube_of_admin(&self) -> Kube {
        self.kube_with(&self.admin)
    }

    fn kube_with(&self, client: &Client) -> Kube {
        // What really starts and stops takes its time.
        let (unready, settle) = match self.cluster {
            ClusterKind::Real { has_node: true, .. } => (10, 90),
            _ => (2, 30),
        };
        Kube::new(client.clone())
            .seeing_cluster()
            .unready_after(Duration::from_secs(unready))
            .settle_within(Duration::from_secs(settle))
    }

    pub(crate) fn deployment(&self, name: &str, image: &str) -> DeploymentBuilder {
        DeploymentBuilder::new(self.admin.clone(), &self.namespace, name, image)
    }

    pub(crate) fn remediator(&self, llm: impl LlmProvider + 'static) -> Remediator {
        self.remediator_on(llm, self.kube())
    }

    pub(crate) fn remediator_on(&self, llm: impl LlmProvider + 'static, kube: Kube) -> Remediator {
        self.builder(llm, kube)
            .audit(self.audit.clone())
            .build()
            .unwrap()
    }

    /// The same with a trail and a plan store that outlive it.
    pub(crate) fn remediator_with(
        &self,
        llm: impl LlmProvider + 'static,
        audit: &MemoryAudit,
        plans: &MemoryPlans,
    ) -> Remediator {
        let builder = self.builder(llm, self.kube());
        builder
            .audit(audit.clone())
            .plans(plans.clone())
            .build()
            .unwrap()
    }

    pub(crate) fn builder(&self, llm: impl LlmProvider + 'static, kube: Kube) -> Builder {
        Remediator::builder()
            .hold(self.hold())
            .scope(self.scope())
            .settings(Settings {
                enabled: true,
                allow_high_risk: false,
            })
            .llm(llm)
            .policy(builtin())
            .cluster(kube)
    }

    /// Scans until the findings are as wanted.
    pub(crate) async fn findings(&self, wanted: impl Fn(&[Finding]) -> bool) -> Vec<Finding> {
        match self.findings_within(Duration::from_secs(90), wanted).await {
            Ok(findings) => findings,
            Err(last) => panic!("the findings never came to be as wanted: {last:#?}"),
        }
    }

    /// The same; the last ones where they don't come to be as wanted in time.
    pub(crate) async fn findings_within(
        &self,
        time: Duration,
        wanted: impl Fn(&[Finding]) -> bool,
    ) -> Result<Vec<Finding>, Vec<Finding>> {
        let began = Instant::now();
        loop {
            let scan = self.kube().scan(&self.scope()).await.unwrap();
            assert_eq!(scan.incomplete, Vec::<String>::new());
            if wanted(&scan.findings) {
                return Ok(scan.findings);
            }
            if began.elapsed() > time {
                return Err(scan.findings);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn walk(
        &self,
        remediator: &Remediator,
        findings: Vec<Finding>,
    ) -> Result<DryRun, RemediatorError> {
        let incident = Incident::new(IncidentId::new("INC-1").unwrap(), findings, None).unwrap();
        let plan = remediator.suggest(&incident).await?;
        remediator.dry_run(remediator.review(plan).await?).await
    }

    pub(crate) async fn execute(&self, remediator: &Remediator, dry_run: DryRun) -> Outcome {
        remediator
            .execute(dry_run.approve(Answer::confirm("operator")).unwrap())
            .await
            .unwrap()
    }

    pub(crate) async fn get(&self, name: &str) -> Deployment {
        Api::namespaced(self.admin.clone(), &self.namespace)
            .get(name)
            .await
            .unwrap()
    }

    pub(crate) async fn merge(&self, name: &str, patch: Value) {
        let api: Api<Deployment> = Api::namespaced(self.admin.clone(), &self.namespace);
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// Any object, as somebody else makes it.
    pub(crate) async fn create_any(&self, object: &Value) {
        let api = self.api_of(object);
        if is_of_the_cluster(object) {
            self.of_the_cluster.lock().unwrap().push(object.clone());
        }
        let object = serde_json::from_value(object.clone()).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    /// Merges into the object that the patch names.
    pub(crate) async fn merge_any(&self, patch: &Value) {
        let name = patch["metadata"]["name"].as_str().unwrap();
        self.api_of(patch)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    pub(crate) async fn label_namespace(&self, labels: &Value) {
        let patch = Patch::Merge(json!({ "metadata": { "labels": labels } }));
        Api::<Namespace>::all(self.admin.clone())
            .patch(&self.namespace, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    pub(crate) fn api_of(&self, object: &Value) -> Api<DynamicObject> {
        let types: TypeMeta = serde_json::from_value(object.clone()).unwrap();
        let resource = ApiResource::from_gvk(&types.try_into().unwrap());
        if is_of_the_cluster(object) {
            return Api::all_with(self.admin.clone(), &resource);
        }
        Api::namespaced_with(self.admin.clone(), &self.namespace, &resource)
    }

    /// A client with full rights.
    pub(crate) fn admin(&self) -> Client {
        self.admin.clone()
    }

    pub(crate) async fn pods(&self) -> Vec<Pod> {
        Api::namespaced(self.admin.clone(), &self.namespace)
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
    }

    /// Waits until so many of an app's pods are ready, and the others are not.
    pub(crate) async fn pods_ready(&self, app: &str, wanted: usize) {
        let is_ready = |pod: &Pod| {
            let conditions = pod
                .status
                .as_ref()
                .and_then(|status| status.conditions.as_ref());
            conditions
                .into_iter()
                .flatten()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        for _ in 0..600 {
            let pods = self.pods().await.into_iter();
            let mine = pods.filter(|pod| {
                let labels = pod.metadata.labels.as_ref();
                labels
                    .and_then(|labels| labels.get("app"))
                    .map(String::as_str)
                    == Some(app)
            });
            if mine.filter(is_ready).count() == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{app} never had {wanted} pods that are ready");
    }

    /// Waits until a container that was started again twice has run for so many seconds.
    pub(crate) async fn runs_again_for(&self, seconds: u64) {
        let lasts = |pod: &Pod| {
            let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
            let again = containers.iter().find(|status| status.restart_count >= 2)?;
            let since = again
                .state
                .as_ref()?
                .running
                .as_ref()?
                .started_at
                .as_ref()?;
            let lasted = jiff::Timestamp::now().duration_since(since.0);
            (lasted.as_secs() >= i64::try_from(seconds).ok()?).then_some(())
        };
        for _ in 0..600 {
            if self.pods().await.iter().any(|pod| lasts(pod).is_some()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("no container was started again twice and lasted");
    }

    /// Makes a pod look stuck: it runs, and isn't ready.
    pub(crate) async fn wedge(&self, pod: &str) {
        let status = json!({ "status": { "conditions": [{ "type": "Ready", "status": "False", "reason": "ContainersNotReady", "lastTransitionTime": "2020-01-01T00:00:00Z" }] } });
        let api: Api<Pod> = Api::namespaced(self.admin.clone(), &self.namespace);
        api.patch_status(pod, &PatchParams::default(), &Patch::Strategic(status))
            .await
            .unwrap();
    }

    /// Asks a container that really runs for a path at its port 8080.
    pub(crate) async fn ask(&self, pod: &str, path: &str) {
        let pods = kube::core::Request::new(format!("/api/v1/namespaces/{}/pods", self.namespace));
        let path = format!("{pod}:8080/proxy/{path}");
        let request = pods.get(&path, &GetParams::default()).unwrap();
        self.admin.request_text(request).await.unwrap();
    }

    /// A quarter of the memory that the largest node has, as the playbook writes it.
    pub(crate) async fn quarter(&self) -> String {
        if !matches!(self.cluster, ClusterKind::Real { has_node: true, .. }) {
            return "4096Mi".into();
        }
        let node = Api::<Node>::all(self.admin.clone()).get("node-1").await;
        let allocatable = node.unwrap().status.unwrap().allocatable.unwrap();
        let kibibytes = allocatable["memory"].0.strip_suffix("Ki").unwrap();
        format!("{}Mi", kibibytes.parse::<u64>().unwrap() / 4 / 1024)
    }

    /// An app of the first version, all of whose copies run.
    pub(crate) async fn running(&self, name: &str) {
        let app = self.deployment(name, "r.example/web:1");
        app.create().await.unwrap();
        self.wait_ready(name).await;
    }

    /// Waits until a Deployment has all its pods.
    pub(crate) async fn wait_ready(&self, name: &str) {
        for _ in 0..2400 {
            let deployment = self.get(name).await;
            let wanted = deployment.spec.and_then(|spec| spec.replicas);
            let generation = deployment.metadata.generation;
            if deployment.status.is_some_and(|status| {
                // What the controllers haven't seen yet says nothing.
                status.observed_generation >= generation
                    && status.available_replicas == wanted
                    && status.updated_replicas == wanted
                    && status.replicas == wanted
            }) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} never became ready");
    }

    /// What Argus wrote, by the server's own audit log. What it refused because the object's status moved meanwhile is
    /// left out: Argus looks again and sends it once more.
    pub(crate) async fn writes(&self) -> Vec<Write> {
        let all = self.requests().await.into_iter();
        all.filter(|(_, _, _, code)| ![409, 422].contains(code))
            .collect()
    }

    async fn requests(&self) -> Vec<Write> {
        let short = |path: &str| {
            path.split_once(&format!("/namespaces/{}/", self.namespace))
                .map_or(path.to_owned(), |(_, rest)| rest.to_owned())
        };
        match &self.cluster {
            ClusterKind::Memory(cluster) => {
                let mine = cluster
                    .writes()
                    .into_iter()
                    .filter(|write| write.user == "argus");
                mine.map(|write| (write.verb, short(&write.path), write.dry_run, write.code))
                    .collect()
            }
            ClusterKind::Real { audit_log, .. } => {
                // The log is written a moment after the answer.
                tokio::time::sleep(Duration::from_millis(300)).await;
                let user = format!("system:serviceaccount:{}:argus", self.namespace);
                let text = std::fs::read_to_string(audit_log).unwrap();
                let events = text
                    .lines()
                    .filter(|line| line.contains(&user))
                    .map(|line| serde_json::from_str::<Value>(line).unwrap());
                events
                    .filter(|event| {
                        event["user"]["username"] == user.as_str()
                            && event["stage"] == "ResponseComplete"
                    })
                    .filter(|event| {
                        ["create", "update", "patch", "delete", "deletecollection"]
                            .contains(&event["verb"].as_str().unwrap())
                    })
                    .filter(|event| event["objectRef"]["resource"] != "selfsubjectaccessreviews")
                    .map(|event| {
                        let uri = event["requestURI"].as_str().unwrap();
                        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
                        let dry_run = query.contains("dryRun=All")
                            || event["requestObject"]["dryRun"] == json!(["All"]);
                        let code = u16::try_from(event["responseStatus"]["code"].as_u64().unwrap())
                            .unwrap();
                        (
                            event["verb"].as_str().unwrap().to_owned(),
                            short(path),
                            dry_run,
                            code,
                        )
                    })
                    .collect()
            }
        }
    }

    /// Removes what a real cluster would keep.
    pub(crate) async fn end(self) {
        if let ClusterKind::Real { .. } = self.cluster {
            let made = self.of_the_cluster.lock().unwrap().clone();
            for object in made {
                let name = object["metadata"]["name"].as_str().unwrap();
                let api = self.api_of(&object);
                api.delete(name, &Default::default()).await.unwrap();
            }
            Api::<Namespace>::all(self.admin)
                .delete(&self.namespace, &Default::default())
                .await
                .unwrap();
        }
    }
}

fn is_of_the_cluster(object: &Value) -> bool {
    [
        "GatewayClass",
        "IngressClass",
        "Node",
        "PersistentVolume",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    ]
    .contains(&object["kind"].as_str().unwrap())
}

/// The built-in packs, loaded once: that takes a second without optimisation.
pub(crate) fn builtin() -> RegoEngine {
    static ENGINE: LazyLock<RegoEngine> = LazyLock::new(|| RegoEngine::builtin().unwrap());
    ENGINE.clone()
}
