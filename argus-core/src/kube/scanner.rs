//! The objects of the scope's namespaces become findings: paged lists, then pure functions.

use std::collections::BTreeMap;
use std::fmt::Debug;

use ::kube::api::{Api, ListParams, ObjectMeta};
use ::kube::{Client, Error, Resource};
use async_trait::async_trait;
use futures::future::join_all;
use futures::join;
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::de::DeserializeOwned;

use super::analyzers::{
    Seen, autoscalers, cron_jobs, deployments, disruption_budgets, ingresses, pods, services,
};
use super::{Kube, refusal};
use crate::incident::{Scan, ScanError, Scanner};
use crate::scope::Scope;

/// How many objects one page has.
const PAGE: u32 = 500;

#[async_trait]
impl Scanner for Kube {
    async fn scan(&self, scope: &Scope) -> Result<Scan, ScanError> {
        let namespaces = scope.iter().map(|namespace| self.scan_namespace(namespace));
        let mut scan = Scan::default();
        let mut unreachable = None;
        for (part, error) in join_all(namespaces).await {
            scan.findings.extend(part.findings);
            scan.workloads.extend(part.workloads);
            scan.incomplete.extend(part.incomplete);
            unreachable = unreachable.or(error);
        }
        match unreachable {
            Some(error) => Err(ScanError {
                problem: "no connection, or an answer that is not Kubernetes'".into(),
                source: Some(error.into()),
            }),
            None => Ok(scan),
        }
    }
}

impl Kube {
    pub(super) async fn nodes(&self) -> Result<Vec<Node>, Error> {
        every_page(Api::all(self.client.clone())).await
    }

    /// One namespace; the error is that of a cluster that doesn't answer at all.
    async fn scan_namespace(&self, namespace: &str) -> (Scan, Option<Error>) {
        let (
            pods,
            deployments,
            sets,
            configs,
            services,
            cron_jobs,
            ingresses,
            autoscalers,
            budgets,
        ) = join!(
            all_pages::<Pod>(&self.client, namespace),
            all_pages::<Deployment>(&self.client, namespace),
            all_pages::<ReplicaSet>(&self.client, namespace),
            all_metadata(Api::<ConfigMap>::namespaced(self.client.clone(), namespace)),
            all_pages::<Service>(&self.client, namespace),
            all_pages::<CronJob>(&self.client, namespace),
            all_pages::<Ingress>(&self.client, namespace),
            all_pages::<HorizontalPodAutoscaler>(&self.client, namespace),
            all_pages::<PodDisruptionBudget>(&self.client, namespace),
        );
        let mut missing = Missing {
            namespace,
            incomplete: Vec::new(),
            unreachable: None,
        };
        let pods = missing.take("pods", pods);
        let nodes = if pods.iter().any(is_waiting) {
            // Nobody needs them who has the rights of a namespace only: the finding says what it lacks.
            self.nodes().await.unwrap_or_default()
        } else {
            Vec::new()
        };
        let mut seen = Seen {
            now: Timestamp::now(),
            unready_after: self.unready_after,
            pods,
            ready: BTreeMap::new(),
            nodes,
            deployments: missing.take("deployments", deployments),
            replica_sets: missing.take("replicasets", sets),
            config_maps: missing.take("configmaps", configs),
            services: missing.take("services", services),
            cron_jobs: missing.take("cronjobs", cron_jobs),
            ingresses: missing.take("ingresses", ingresses),
            autoscalers: missing.take("horizontalpodautoscalers", autoscalers),
            budgets: missing.take("poddisruptionbudgets", budgets),
        };
        seen.count_ready();
        let analyzers = [
            pods::analyze,
            deployments::analyze,
            services::analyze,
            ingresses::analyze,
            cron_jobs::analyze,
            autoscalers::analyze,
            disruption_budgets::analyze,
        ];
        let findings = analyzers
            .iter()
            .flat_map(|analyze| analyze(&seen))
            .collect();
        (
            Scan {
                findings,
                workloads: deployments::workloads(&seen),
                incomplete: missing.incomplete,
            },
            missing.unreachable,
        )
    }
}

/// Whether no node has taken the pod yet.
fn is_waiting(pod: &Pod) -> bool {
    pod.spec
        .as_ref()
        .is_some_and(|spec| spec.node_name.is_none())
}

struct Missing<'a> {
    namespace: &'a str,
    incomplete: Vec<String>,
    unreachable: Option<Error>,
}

impl Missing<'_> {
    fn take<T>(&mut self, what: &str, list: Result<Vec<T>, Error>) -> Vec<T> {
        match list {
            Ok(items) => items,
            Err(error) => {
                match refusal(&error) {
                    Some((_, message)) => self.incomplete.push(format!(
                        "the {what} of namespace {} could not be read: {message}",
                        self.namespace
                    )),
                    None => self.unreachable = Some(error),
                }
                Vec::new()
            }
        }
    }
}

async fn all_pages<K>(client: &Client, namespace: &str) -> Result<Vec<K>, Error>
where
    K: Clone
        + Debug
        + DeserializeOwned
        + Resource<Scope = NamespaceResourceScope, DynamicType: Default>,
{
    every_page(Api::<K>::namespaced(client.clone(), namespace)).await
}

async fn every_page<K>(api: Api<K>) -> Result<Vec<K>, Error>
where
    K: Clone + Debug + DeserializeOwned,
{
    let (mut items, mut params) = (Vec::new(), ListParams::default().limit(PAGE));
    loop {
        let page = api.list(&params).await?;
        items.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(items),
        }
    }
}

/// Names, keys and times only: what ConfigMaps hold is never read.
async fn all_metadata(api: Api<ConfigMap>) -> Result<Vec<ObjectMeta>, Error> {
    let (mut items, mut params) = (Vec::new(), ListParams::default().limit(PAGE));
    loop {
        let page = api.list_metadata(&params).await?;
        items.extend(page.items.into_iter().map(|item| item.metadata));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(items),
        }
    }
}
