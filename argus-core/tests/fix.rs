//! The whole loop: a plan that does not help is undone, and the next one knows of it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use argus_core::testing::cluster::Cluster;
use argus_core::testing::{MemoryAudit, PermitAll};
use argus_core::{
    Answer, ApprovalError, Approver, Attempt, Completion, Ending, FixOutcome, HoldBounds, Incident,
    IncidentId, Kube, LlmError, LlmProvider, Playbook, Prompt, Quantity, Remediator,
    RemediatorError, Scope, Settings,
};
use async_trait::async_trait;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use serde_json::json;

/// Says yes so often, and then no.
struct Operator {
    yes: usize,
    asked: AtomicUsize,
}

impl Operator {
    fn saying_yes(yes: usize) -> Self {
        let asked = AtomicUsize::new(0);
        Self { yes, asked }
    }
}

#[async_trait]
impl Approver for Operator {
    async fn decide(&self, _: &argus_core::DryRun) -> Result<Answer, ApprovalError> {
        if self.asked.fetch_add(1, Ordering::SeqCst) < self.yes {
            Ok(Answer::confirm("operator"))
        } else {
            Ok(Answer::refuse("operator", "not today"))
        }
    }
}

const ANYTHING: usize = usize::MAX;

/// An app with 64Mi that needs more, a while after each start.
struct Shop {
    cluster: Cluster,
    incident: Incident,
    remediator: Remediator,
}

impl Shop {
    async fn new(needs: &str, limit: &str, llm: impl LlmProvider + 'static, tries: u32) -> Self {
        let cluster = Cluster::start();
        let app = cluster.deployment("shop", "web", "r.example/app:1");
        app.needs_memory(needs)
            .memory_limit(limit)
            .fails_after(Duration::from_millis(300))
            .create()
            .await
            .unwrap();
        let kube = Kube::new(cluster.client_as("argus"));
        let scope = Scope::namespaces(["shop"]).unwrap();
        let findings = cluster.wait_for_findings(&kube, &scope).await.unwrap();
        let incident = Incident::new(IncidentId::new("INC-1").unwrap(), findings, None).unwrap();
        let remediator = Remediator::builder()
            .scope(scope)
            .settings(Settings {
                enabled: true,
                allow_high_risk: false,
            })
            .llm(llm)
            .policy(PermitAll::dangerous())
            .cluster(kube)
            .audit(MemoryAudit::new())
            .hold(HoldBounds {
                min: Duration::from_millis(900),
                max: Duration::from_secs(8),
            })
            .tries(tries)
            .build()
            .unwrap();
        Self {
            cluster,
            incident,
            remediator,
        }
    }

    async fn fix(&self, operator: &Operator) -> FixOutcome {
        self.remediator.fix(&self.incident, operator).await.unwrap()
    }

    /// What may be used now.
    async fn limit(&self) -> String {
        let api: Api<Deployment> = Api::namespaced(self.cluster.client(), "shop");
        let spec = api.get("web").await.unwrap().spec.unwrap();
        let [container] = spec.template.spec.unwrap().containers.try_into().unwrap();
        let limits = container.resources.unwrap().limits.unwrap();
        limits.get("memory").unwrap().0.clone()
    }

    /// Each amount that was tried, and whether it helped.
    async fn tried(&self) -> Vec<(String, bool)> {
        let history = self.remediator.history(&self.incident).await.unwrap();
        let amount = |attempt: &Attempt| {
            assert_eq!(attempt.steps.len(), 1, "{attempt:?}");
            let step = attempt.steps.first().unwrap();
            assert!(step.written, "{attempt:?}");
            let (_, amount) = step.command.rsplit_once('=').unwrap();
            (amount.to_owned(), attempt.helped())
        };
        history.iter().map(amount).collect()
    }
}

/// On a slow machine it is not seen how a fix fails, only that it does.
fn in_vain(amounts: &[&str]) -> Vec<(String, bool)> {
    let amounts = amounts.iter();
    amounts
        .map(|amount| ((*amount).to_owned(), false))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_was_not_enough_is_raised_further() {
    let shop = Shop::new("300Mi", "64Mi", Playbook::new(), 3).await;
    let operator = Operator::saying_yes(ANYTHING);
    let fixed = shop.fix(&operator).await;
    assert!(fixed.resolved, "{fixed:?}");
    assert_eq!(fixed.left, None);
    assert_eq!(fixed.outcomes.len(), 3);
    assert_eq!(operator.asked.load(Ordering::SeqCst), 3, "each by itself");
    assert_eq!(fixed.outcomes.last().unwrap().ending, Ending::Succeeded);
    let mut wanted = in_vain(&["128Mi", "256Mi"]);
    wanted.push(("512Mi".into(), true));
    assert_eq!(shop.tried().await, wanted);
    assert_eq!(shop.limit().await, "512Mi");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_last_try_it_is_a_persons_and_all_is_undone() {
    let shop = Shop::new("300Mi", "64Mi", Playbook::new(), 2).await;
    let fixed = shop.fix(&Operator::saying_yes(ANYTHING)).await;
    assert!(!fixed.resolved);
    assert_eq!(
        fixed.reason,
        "2 plans were tried, and it is not fixed. What did not help is undone. A person has to look."
    );
    assert_eq!(shop.tried().await, in_vain(&["128Mi", "256Mi"]));
    assert_eq!(shop.limit().await, "64Mi");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_app_gets_more_memory_than_the_host_allows() {
    let most = Quantity::new("200Mi").unwrap();
    let shop = Shop::new("300Mi", "64Mi", Playbook::new().most_memory(most), 5).await;
    let fixed = shop.fix(&Operator::saying_yes(ANYTHING)).await;
    assert!(!fixed.resolved);
    // What is between the last amount and the bound is tried.
    assert_eq!(shop.tried().await, in_vain(&["128Mi", "200Mi"]));
    assert_eq!(shop.limit().await, "64Mi");
    let left = fixed.left.unwrap();
    let [step] = left.steps() else {
        panic!("{left:?}");
    };
    let learned = "With 128Mi and with 200Mi of memory it was stopped again. Argus may give an app 200Mi of memory at most.";
    assert!(
        step.description().contains(learned),
        "{}",
        step.description()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_app_gets_more_memory_than_a_node_has() {
    // The nodes have 16Gi.
    let shop = Shop::new("30Gi", "6Gi", Playbook::new(), 5).await;
    let fixed = shop.fix(&Operator::saying_yes(ANYTHING)).await;
    assert!(!fixed.resolved);
    assert_eq!(shop.tried().await, in_vain(&["12288Mi"]));
    assert_eq!(shop.limit().await, "6Gi");
    let left = fixed.left.unwrap();
    let learned = "It would need 24576Mi, and the largest node has 16Gi.";
    let step = left.steps().first().unwrap();
    assert!(
        step.description().contains(learned),
        "{}",
        step.description()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_try_is_approved_by_itself() {
    let shop = Shop::new("300Mi", "64Mi", Playbook::new(), 3).await;
    let fixed = shop.fix(&Operator::saying_yes(1)).await;
    assert!(!fixed.resolved);
    assert_eq!(fixed.reason, "operator refused the plan: not today");
    assert_eq!(shop.tried().await, in_vain(&["128Mi"]));
    assert_eq!(shop.limit().await, "64Mi");
    assert!(fixed.left.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_seen_again_after_the_undo_is_left_alone() {
    let shop = Shop::new("300Mi", "64Mi", Playbook::new(), 3).await;
    let operator = Operator::saying_yes(1);
    // The fault is gone for good as soon as the first plan is undone.
    let (remediator, client) = (shop.remediator.clone(), shop.cluster.client());
    let undone = async {
        loop {
            let history = remediator.history(&shop.incident).await.unwrap();
            if history.iter().any(|attempt| attempt.outcome.is_some()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let api: Api<Deployment> = Api::namespaced(client, "shop");
        api.delete("web", &Default::default()).await.unwrap();
    };
    let (fixed, ()) = tokio::join!(shop.fix(&operator), undone);
    assert_eq!(
        fixed.reason,
        "The fault was not seen for 8 seconds: there is nothing to fix now."
    );
    assert_eq!(fixed.outcomes.len(), 1);
}

/// A model that sees one of two apps at a time.
struct OneByOne(AtomicUsize);

#[async_trait]
impl LlmProvider for OneByOne {
    async fn complete(&self, prompt: &Prompt) -> Result<Completion, LlmError> {
        let command = match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => "kubectl scale deployment/api -n shop --replicas=1",
            _ => "kubectl set resources deployment/web -n shop -c app --limits=memory=512Mi",
        };
        // What is mended is asked about no more.
        assert_eq!(
            prompt.user().contains("scaled_to_zero"),
            command.contains("api")
        );
        let step = json!({ "description": "d", "command": command });
        let draft = json!({ "summary": "s", "steps": [step], "risk_level": "medium", "risk_reason": "r", "rollback_steps": [] });
        Ok(Completion::new(draft.to_string(), "one by one"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plan_leaves_is_for_the_next_one() {
    let mut shop = Shop::new("300Mi", "64Mi", OneByOne(AtomicUsize::new(0)), 3).await;
    let api = shop.cluster.deployment("shop", "api", "r.example/app:1");
    api.replicas(0).create().await.unwrap();
    let mut findings = Vec::new();
    for _ in 0..200 {
        findings = shop.remediator.scan().await.unwrap().findings;
        if findings.len() >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let id = IncidentId::new("INC-2").unwrap();
    shop.incident = Incident::new(id, findings, None).unwrap();
    let fixed = shop.fix(&Operator::saying_yes(ANYTHING)).await;
    assert!(fixed.resolved, "{fixed:?}");
    let endings: Vec<Ending> = fixed.outcomes.iter().map(|one| one.ending).collect();
    assert_eq!(endings, [Ending::Succeeded, Ending::Succeeded], "{fixed:?}");
    assert_eq!(shop.limit().await, "512Mi");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_where_nothing_may_be_carried_out() {
    let shop = Shop::new("300Mi", "64Mi", Playbook::new(), 3).await;
    let operator = Operator::saying_yes(ANYTHING);
    shop.remediator.halt();
    let halted = shop.remediator.fix(&shop.incident, &operator).await;
    let error = halted.unwrap_err();
    assert!(matches!(error, RemediatorError::Halted { .. }), "{error}");
    assert_eq!(operator.asked.load(Ordering::SeqCst), 0);
}

/// What a person undoes later was no failure.
#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_was_asked_for_does_not_rewrite_history() {
    let shop = Shop::new("100Mi", "64Mi", Playbook::new(), 3).await;
    let fixed = shop.fix(&Operator::saying_yes(1)).await;
    assert!(fixed.resolved, "{fixed:?}");
    let [outcome] = fixed.outcomes.as_slice() else {
        panic!("{fixed:?}");
    };
    shop.remediator.undo(&outcome.plan_id).await.unwrap();
    assert_eq!(shop.tried().await, [("128Mi".to_owned(), true)]);
    assert_eq!(shop.limit().await, "64Mi");
}
