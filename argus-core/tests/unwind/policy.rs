//! What a policy engine says or fails to say while a plan walks: nothing runs that it didn't permit, or left to people.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use argus_core::testing::cluster::Fault;
use argus_core::testing::{PermitAll, Scripted};
use argus_core::{
    Digest, Ending, Opinion, Phase, PolicyEngine, PolicyError, PolicyInput, RemediatorError,
    Violation,
};

use super::{COMMANDS, add_app, approved, builder, one_app, real_writes, suggested};

/// A policy whose revision can be changed under an approval.
#[derive(Clone)]
struct Edited(Arc<AtomicBool>);

#[async_trait::async_trait]
impl PolicyEngine for Edited {
    async fn evaluate(&self, input: &PolicyInput) -> Result<Vec<Opinion>, PolicyError> {
        PermitAll::dangerous().evaluate(input).await
    }
    fn revision(&self) -> Digest {
        Digest::of_bytes(if self.0.load(Ordering::SeqCst) {
            b"after"
        } else {
            b"before"
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changed_after_the_approval_makes_it_stale() {
    let cluster = one_app().await;
    let policy = Edited(Arc::default());
    let remediator = builder(&cluster).policy(policy.clone()).build().unwrap();
    let approved = approved(&remediator).await;
    policy.0.store(true, Ordering::SeqCst);
    assert!(remediator.execute(approved).await.unwrap_err().is_stale());
    assert!(real_writes(&cluster).is_empty());
}

/// An engine that fails, in every way that an engine can.
struct Broken(Result<Vec<Opinion>, ()>);

#[async_trait::async_trait]
impl PolicyEngine for Broken {
    async fn evaluate(&self, _: &PolicyInput) -> Result<Vec<Opinion>, PolicyError> {
        self.0
            .clone()
            .map_err(|()| PolicyError::new("made to fail"))
    }
    fn revision(&self) -> Digest {
        Digest::ZERO
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_without_evidence_is_never_an_allow() {
    let cluster = one_app().await;
    let silent = Opinion {
        pack: "silent".into(),
        revision: Digest::ZERO,
        evaluated: vec![],
        deny: vec![],
        manual: vec![],
        require_approval: vec![],
        warn: vec![],
    };
    for answer in [Err(()), Ok(vec![]), Ok(vec![silent])] {
        let remediator = builder(&cluster).policy(Broken(answer)).build().unwrap();
        let plan = suggested(&remediator).await;
        let error = remediator.review(plan).await.unwrap_err();
        assert!(matches!(error, RemediatorError::Policy(_)), "{error}");
    }
}

/// A policy that leaves a step to people in one phase, or all of them.
struct LeftToPeople(Phase, Option<usize>);

#[async_trait::async_trait]
impl PolicyEngine for LeftToPeople {
    async fn evaluate(&self, input: &PolicyInput) -> Result<Vec<Opinion>, PolicyError> {
        let mut opinions = PermitAll::dangerous().evaluate(input).await?;
        if input.phase == self.0 {
            opinions[0].manual.push(Violation {
                pack: "dangerous-permit-all".into(),
                id: "permit-all".into(),
                message: "somebody has to be there".into(),
                step: self.1,
                hint: String::new(),
                people: None,
            });
        }
        Ok(opinions)
    }
    fn revision(&self) -> Digest {
        Digest::ZERO
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_policy_leaves_to_people_in_any_phase_is_never_run() {
    let cluster = one_app().await;
    for phase in [Phase::Plan, Phase::Objects] {
        for step in [Some(0), None] {
            let policy = LeftToPeople(phase, step);
            let remediator = builder(&cluster).policy(policy).build().unwrap();
            let plan = suggested(&remediator).await;
            let permitted = remediator.review(plan).await.unwrap();
            let steps = match remediator.dry_run(permitted).await {
                Err(RemediatorError::Manual { steps }) => steps,
                other => panic!("{phase:?}, {step:?}: {other:?}"),
            };
            assert_eq!(steps, [(0, "somebody has to be there".into())].into());
        }
    }
    assert!(real_writes(&cluster).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_policy_leaves_to_people_is_not_made() {
    for (step, ending) in [
        (Some(0), Ending::Stuck),
        (None, Ending::Stuck),
        // What is said of another step holds nothing up.
        (Some(1), Ending::Undone),
    ] {
        let cluster = one_app().await;
        add_app(&cluster, "api").await;
        let remediator = builder(&cluster)
            .llm(Scripted::commands(&COMMANDS[..2]))
            .policy(LeftToPeople(Phase::Undo, step));
        let remediator = remediator.build().unwrap();
        let approved = approved(&remediator).await;
        cluster.inject(1, Fault::RefuseWrite(422));
        let outcome = remediator.execute(approved).await.unwrap();
        assert_eq!(outcome.ending, ending, "{step:?}: {outcome:?}");
        let writes = 2 + usize::from(ending == Ending::Undone);
        assert_eq!(real_writes(&cluster).len(), writes, "{step:?}");
    }
}

/// Whatever packs say: text that is no action of Argus is left to people.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_no_action_is_never_run() {
    let cluster = one_app().await;
    let commands = [COMMANDS[1], "kubectl drain node-1"];
    let remediator = builder(&cluster).llm(Scripted::commands(&commands));
    let remediator = remediator.build().unwrap();
    let plan = suggested(&remediator).await;
    let permitted = remediator.review(plan).await.unwrap();
    let error = remediator.dry_run(permitted).await.unwrap_err();
    match error {
        RemediatorError::Manual { steps } => assert_eq!(steps.into_keys().collect::<Vec<_>>(), [1]),
        other => panic!("{other}"),
    }
    assert!(real_writes(&cluster).is_empty());
}
