//! Room 6: a [`DryRun`] and an answer become [`Approved`]: bound to one digest, for a short time, used once.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::action::{Action, Risk};
use crate::actor::Actor;
use crate::digest::Digest;
use crate::dry_run::{DryRun, Preview};
use crate::plan::{Plan, PlanId, Step};
use crate::redact::redact;
use crate::verdict::Verdict;

mod shown;
pub use shown::{Shown, ShownChange, ShownStep};

/// How long an approval holds: ten minutes.
pub const APPROVAL_LASTS: SignedDuration = SignedDuration::from_mins(10);

/// What an approver answers.
///
/// # Example
/// ```
/// use argus_core::Answer;
/// let confirmed = Answer::confirm("operator");
/// let high_risk = Answer::confirm_by_name("operator", "web");
/// let refused = Answer::refuse("operator", "not on a Friday");
/// # let _ = (confirmed, high_risk, refused);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    actor: Actor,
    reply: Reply,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reply {
    Confirm,
    ConfirmByName(String),
    Refuse(String),
}

impl Answer {
    /// A person: "I understand this will change my cluster".
    #[must_use]
    pub fn confirm(user: impl Into<String>) -> Self {
        Self {
            actor: Actor::User(redact(&user.into())),
            reply: Reply::Confirm,
        }
    }

    /// A person who typed the resource name, as high risk needs it.
    #[must_use]
    pub fn confirm_by_name(user: impl Into<String>, typed: impl Into<String>) -> Self {
        Self {
            actor: Actor::User(redact(&user.into())),
            reply: Reply::ConfirmByName(typed.into()),
        }
    }

    /// The host by itself: taken only where policy says `Allow`.
    #[must_use]
    pub fn automatic(component: impl Into<String>) -> Self {
        Self {
            actor: Actor::Automatic(redact(&component.into())),
            reply: Reply::Confirm,
        }
    }

    /// No.
    #[must_use]
    pub fn refuse(user: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            actor: Actor::User(redact(&user.into())),
            reply: Reply::Refuse(redact(&why.into())),
        }
    }

    /// Who answers.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.actor
    }
}

/// Why a dry run isn't approved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// Somebody said no.
    #[error("{who} refused the plan: {why}")]
    Refused {
        /// Who.
        who: String,
        /// Why.
        why: String,
    },
    /// The host answered where a person has to.
    #[error("a person has to approve this plan")]
    PersonNeeded,
    /// Too few people said yes.
    #[error("policy wants {people} people to approve this plan, {so_far} did")]
    PeopleNeeded {
        /// How many it takes.
        people: u8,
        /// How many different ones there are.
        so_far: usize,
    },
    /// High risk, and the resource name wasn't typed.
    #[error("this plan is high-risk: type the name of the resource, `{0}`, to approve it")]
    NameNeeded(String),
    /// Nobody could be asked.
    #[error("nobody could be asked: {0}")]
    Unreachable(String),
}

/// The door to whoever approves.
///
/// # Obligations
/// An approver that can't ask anybody returns an error, never a confirmation.
#[async_trait]
pub trait Approver: Send + Sync {
    /// Asks about one dry run.
    ///
    /// # Errors
    /// [`ApprovalError`] when nobody answered.
    async fn decide(&self, dry_run: &DryRun) -> Result<Answer, ApprovalError>;
}

/// The door to whoever is asked between the steps of an approved plan.
///
/// # Guarantees
/// It is asked before every step but the first, and only while the approval lasts. Whatever it doesn't confirm in that time isn't
/// taken, and the plan goes the way of any plan whose step failed: it is undone or stopped.
///
/// # Obligations
/// As an [`Approver`]'s: who can't ask anybody says no.
#[async_trait]
pub trait Pause: Send + Sync {
    /// Whether this step, from 0, may be taken now.
    ///
    /// # Errors
    /// Why not, in words.
    async fn go_on(&self, plan: &Plan, step: usize) -> Result<(), String>;
}

/// An approved plan: the only thing that can be executed.
///
/// # Guarantees
/// For the digest of exactly one [`DryRun`], used up by executing it, useless after [`APPROVAL_LASTS`]. It can't be
/// cloned or made from data:
///
/// ```compile_fail,E0599
/// fn twice(approved: argus_core::Approved) -> (argus_core::Approved, argus_core::Approved) {
///     (approved.clone(), approved)
/// }
/// ```
#[derive(Debug)]
pub struct Approved {
    dry_run: DryRun,
    approver: Actor,
    /// Where policy asked for several people.
    others: Vec<Actor>,
    approved_at: Timestamp,
}

impl DryRun {
    /// The name that a person has to type; only for high risk.
    #[must_use]
    pub fn name_to_type(&self) -> Option<&str> {
        let high = self.risk_level() == Risk::High;
        let target = self
            .plan()
            .steps()
            .iter()
            .find_map(|step| step.action().target());
        target.filter(|_| high).map(|target| target.name())
    }

    /// Takes the answer for exactly this dry run.
    ///
    /// # Errors
    /// [`ApprovalError`] for a no, or for a yes that isn't enough for this plan.
    pub fn approve(self, answer: Answer) -> Result<Approved, ApprovalError> {
        self.approve_together([answer])
    }

    /// The same where policy asks for several people, see [`people`](Self::people): each has to say yes as if alone.
    ///
    /// # Errors
    /// [`ApprovalError`] for a no, for a yes that isn't enough for this plan, or for too few different people.
    ///
    /// # Example
    /// ```
    /// # fn approve(dry_run: argus_core::DryRun) -> Result<argus_core::Approved, argus_core::ApprovalError> {
    /// use argus_core::Answer;
    /// dry_run.approve_together([Answer::confirm("ada"), Answer::confirm("grace")])
    /// # }
    /// ```
    pub fn approve_together(
        self,
        answers: impl IntoIterator<Item = Answer>,
    ) -> Result<Approved, ApprovalError> {
        let mut approvers: Vec<Actor> = Vec::new();
        for answer in answers {
            self.check(&answer)?;
            let name = answer.actor.name().trim();
            let known = |actor: &Actor| actor.name().trim().eq_ignore_ascii_case(name);
            if !approvers.iter().any(known) {
                approvers.push(answer.actor);
            }
        }
        let so_far = approvers.len();
        let mut approvers = approvers.into_iter();
        match approvers.next() {
            Some(approver) if so_far >= usize::from(self.people()) => Ok(Approved {
                dry_run: self,
                approver,
                others: approvers.collect(),
                approved_at: Timestamp::now(),
            }),
            _ => Err(ApprovalError::PeopleNeeded {
                people: self.people(),
                so_far,
            }),
        }
    }

    fn check(&self, answer: &Answer) -> Result<(), ApprovalError> {
        if let Reply::Refuse(why) = &answer.reply {
            return Err(ApprovalError::Refused {
                who: answer.actor.name().to_owned(),
                why: why.clone(),
            });
        }
        if matches!(answer.actor, Actor::Automatic(_)) && self.verdict() != Verdict::Allow {
            return Err(ApprovalError::PersonNeeded);
        }
        match self.name_to_type() {
            Some(name) if answer.reply != Reply::ConfirmByName(name.to_owned()) => {
                Err(ApprovalError::NameNeeded(name.to_owned()))
            }
            _ => Ok(()),
        }
    }
}

impl Approved {
    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        self.dry_run.plan()
    }

    /// What was approved.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.dry_run.digest()
    }

    /// The policy under which it was approved.
    #[must_use]
    pub fn revision(&self) -> Digest {
        self.dry_run.revision()
    }

    /// Who said yes, first.
    #[must_use]
    pub fn approver(&self) -> &Actor {
        &self.approver
    }

    /// Who said yes besides, where policy asked for several people.
    #[must_use]
    pub fn others(&self) -> &[Actor] {
        &self.others
    }

    /// Until when it holds.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.approved_at
            .saturating_add(APPROVAL_LASTS)
            .unwrap_or(self.approved_at)
    }

    pub(crate) fn dry_run(&self) -> &DryRun {
        &self.dry_run
    }

    pub(crate) fn approved_at(&self) -> Timestamp {
        self.approved_at
    }

    /// An approval that was given before a restart. The caller has held its digest against the trail.
    pub(crate) fn restored(
        dry_run: DryRun,
        approver: Actor,
        others: Vec<Actor>,
        approved_at: Timestamp,
    ) -> Self {
        Self {
            dry_run,
            approver,
            others,
            approved_at,
        }
    }

    /// The steps as they may be applied.
    pub(crate) fn steps(&self) -> Vec<ApprovedStep<'_>> {
        let plan = self.plan();
        let paired = plan.steps().iter().zip(self.dry_run.previews()).enumerate();
        paired
            .map(|(index, (step, preview))| ApprovedStep {
                approved: self,
                index,
                step,
                preview,
            })
            .collect()
    }
}

/// A step of an [`Approved`] plan: what an executor takes.
///
/// Hosts can't make one, nor an [`Approved`], nor a plan that skipped a door:
///
/// ```compile_fail,E0451
/// fn forge(approved: argus_core::Approved, other: argus_core::DryRun) -> argus_core::Approved {
///     argus_core::Approved { dry_run: other, ..approved }
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ApprovedStep<'a> {
    approved: &'a Approved,
    index: usize,
    step: &'a Step,
    preview: &'a Preview,
}

impl<'a> ApprovedStep<'a> {
    /// The plan's id.
    #[must_use]
    pub fn plan_id(&self) -> &'a PlanId {
        self.approved.plan().plan_id()
    }

    /// From 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The action.
    #[must_use]
    pub fn action(&self) -> &'a Action {
        self.step.action()
    }

    /// The command that people saw.
    #[must_use]
    pub fn command(&self) -> &'a str {
        self.step.command()
    }

    /// What was approved: the object, the request and its result.
    #[must_use]
    pub fn preview(&self) -> &'a Preview {
        self.preview
    }

    /// The steps of the plan that come after this one.
    #[must_use]
    pub fn later(&self) -> Vec<ApprovedStep<'a>> {
        self.approved.steps().split_off(self.index + 1)
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::{MemoryAudit, PermitAll, Scripted, cluster::Cluster};
    use crate::{Incident, IncidentId, Kube, Remediator, Scope, Settings};

    #[tokio::test]
    async fn an_approval_expires() {
        let cluster = Cluster::start();
        cluster
            .deployment("shop", "web", "r.example/web:1")
            .create()
            .await
            .unwrap();
        let remediator = Remediator::builder()
            .scope(Scope::namespaces(["shop"]).unwrap())
            .settings(Settings {
                enabled: true,
                allow_high_risk: false,
            })
            .llm(Scripted::commands(&[
                "kubectl scale deployment/web -n shop --replicas=2",
            ]))
            .policy(PermitAll::dangerous())
            .cluster(Kube::new(cluster.client_as("argus")))
            .audit(MemoryAudit::new())
            .build()
            .unwrap();
        let incident = Incident::new(IncidentId::new("INC-1").unwrap(), vec![], None).unwrap();
        for (minutes, holds) in [(11, false), (9, true)] {
            let plan = remediator.suggest(&incident).await.unwrap();
            let dry_run = remediator
                .dry_run(remediator.review(plan).await.unwrap())
                .await
                .unwrap();
            let mut approved = dry_run.approve(Answer::confirm("operator")).unwrap();
            approved.approved_at = Timestamp::now() - SignedDuration::from_mins(minutes);
            let result = remediator.execute(approved).await;
            assert_eq!(result.is_ok(), holds, "{minutes} minutes: {result:?}");
        }
    }
}
