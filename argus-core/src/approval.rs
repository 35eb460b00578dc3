//! Room 6: a [`DryRun`] and an answer become [`Approved`]: bound to one digest, for a short time, used once.

use std::fmt;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::action::{Action, Risk};
use crate::actor::{Actor, ActorError};
use crate::digest::Digest;
use crate::dry_run::{DryRun, Preview};
use crate::plan::{Plan, Step};
use crate::plan_id::PlanId;
use crate::redact::redact;
use crate::verdict::Verdict;

mod shown;
pub use shown::{Shown, ShownChange, ShownStep};

/// How long an approval holds: ten minutes.
pub const APPROVAL_LASTS: SignedDuration = SignedDuration::from_mins(10);

/// How long a dry run may be approved, and its approval be executed: ten minutes.
pub const DRY_RUN_LASTS: SignedDuration = SignedDuration::from_mins(10);

/// What an approver answers.
///
/// # Example
/// ```
/// use argus_core::Answer;
/// let confirmed = Answer::confirm("operator");
/// let high_risk = Answer::confirm_by_name("operator", "web");
/// let refused = Answer::refuse("operator", "not on a Friday");
/// // As hosts in other languages write it; `automatic` names a component, `typed_name` is what was typed.
/// assert_eq!(confirmed, serde_json::from_str(r#"{"user": "operator"}"#)?);
/// assert_eq!(high_risk, serde_json::from_str(r#"{"user": "operator", "typed_name": "web"}"#)?);
/// assert_eq!(refused, serde_json::from_str(r#"{"user": "operator", "refuse": "not on a Friday"}"#)?);
/// assert_eq!(Answer::automatic("nightly"), serde_json::from_str(r#"{"automatic": "nightly"}"#)?);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "AnswerDocument")]
pub struct Answer {
    actor: Result<Actor, ActorError>,
    reply: Reply,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reply {
    Confirm,
    ConfirmByName(String),
    Refuse(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerDocument {
    user: Option<String>,
    typed_name: Option<String>,
    refuse: Option<String>,
    automatic: Option<String>,
}

impl TryFrom<AnswerDocument> for Answer {
    type Error = &'static str;

    fn try_from(said: AnswerDocument) -> Result<Self, Self::Error> {
        match (said.user, said.automatic, said.refuse, said.typed_name) {
            (Some(user), None, None, None) => Ok(Self::confirm(user)),
            (Some(user), None, None, Some(typed)) => Ok(Self::confirm_by_name(user, typed)),
            (Some(user), None, Some(why), None) => Ok(Self::refuse(user, why)),
            (None, Some(component), None, None) => Ok(Self::automatic(component)),
            _ => Err(
                "an answer has a `user`, who may add `typed_name` or `refuse`, or the name of a component as `automatic`",
            ),
        }
    }
}

impl Answer {
    /// A person: "I understand this will change my cluster".
    #[must_use]
    pub fn confirm(user: impl Into<String>) -> Self {
        Self {
            actor: Actor::user(user.into()),
            reply: Reply::Confirm,
        }
    }

    /// A person who typed the resource name, as high risk needs it.
    #[must_use]
    pub fn confirm_by_name(user: impl Into<String>, typed: impl Into<String>) -> Self {
        Self {
            actor: Actor::user(user.into()),
            reply: Reply::ConfirmByName(typed.into()),
        }
    }

    /// The host by itself: taken only where policy says `Allow`.
    #[must_use]
    pub fn automatic(component: impl Into<String>) -> Self {
        Self {
            actor: Actor::automatic(component.into()),
            reply: Reply::Confirm,
        }
    }

    /// No.
    #[must_use]
    pub fn refuse(user: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            actor: Actor::user(user.into()),
            reply: Reply::Refuse(redact(&why.into())),
        }
    }

    /// Who answers.
    ///
    /// # Errors
    /// [`ActorError`] where the name that was given is none; the answer approves nothing then.
    pub fn actor(&self) -> Result<&Actor, ActorError> {
        self.actor.as_ref().map_err(|error| *error)
    }
}

/// Why a dry run isn't approved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// Whoever answers has no name that can be recorded.
    #[error("whoever approves a plan needs a name")]
    Nameless(#[from] ActorError),
    /// The dry run is older than [`DRY_RUN_LASTS`].
    #[error("the dry run is older than {} minutes: take it again", DRY_RUN_LASTS.as_mins())]
    Outdated,
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
        if self.is_outdated() {
            return Err(ApprovalError::Outdated);
        }
        let mut approvers: Vec<Actor> = Vec::new();
        for answer in answers {
            let actor = self.check(answer)?;
            let name = actor.name().to_lowercase();
            if !approvers
                .iter()
                .any(|known| known.name().to_lowercase() == name)
            {
                approvers.push(actor);
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

    /// Who said yes, if it is enough for this plan.
    fn check(&self, answer: Answer) -> Result<Actor, ApprovalError> {
        let actor = answer.actor?;
        if let Reply::Refuse(why) = answer.reply {
            return Err(ApprovalError::Refused {
                who: actor.name().to_owned(),
                why,
            });
        }
        if matches!(actor, Actor::Automatic(_)) && self.verdict() != Verdict::Allow {
            return Err(ApprovalError::PersonNeeded);
        }
        match self.name_to_type() {
            Some(name) if answer.reply != Reply::ConfirmByName(name.to_owned()) => {
                Err(ApprovalError::NameNeeded(name.to_owned()))
            }
            _ => Ok(actor),
        }
    }

    /// Whether it was taken too long ago to be approved, or executed for the first time.
    pub(crate) fn is_outdated(&self) -> bool {
        let until = self.taken_at().saturating_add(DRY_RUN_LASTS);
        until.map_or(true, |until| Timestamp::now() > until)
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

    /// The steps as they may be applied, as long as `recheck` still says so.
    pub(crate) fn steps<'a>(&'a self, recheck: &'a dyn Recheck) -> Vec<ApprovedStep<'a>> {
        let plan = self.plan();
        let paired = plan.steps().iter().zip(self.dry_run.previews()).enumerate();
        paired
            .map(|(index, (step, preview))| ApprovedStep {
                approved: self,
                index,
                step,
                preview,
                recheck,
            })
            .collect()
    }
}

/// Says whether a step may still be written, right now.
#[async_trait]
pub(crate) trait Recheck: Send + Sync {
    /// Whether it may still be applied.
    async fn still_permitted(&self, step: ApprovedStep<'_>) -> Result<(), Withdrawn>;

    /// Whether it may still be undone.
    async fn undo_still_permitted(&self, step: ApprovedStep<'_>) -> Result<(), Withdrawn>;
}

/// The permission to write was withdrawn after the approval: the host halted, or policy, the scope or the time say no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Withdrawn {
    pub(crate) what: String,
    /// By the kill switch: nothing at all may be written then.
    pub(crate) is_halt: bool,
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
#[derive(Clone, Copy)]
pub struct ApprovedStep<'a> {
    approved: &'a Approved,
    index: usize,
    step: &'a Step,
    preview: &'a Preview,
    recheck: &'a dyn Recheck,
}

/// The step's index and the object's name; nothing of what it holds or is given.
impl fmt::Debug for ApprovedStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApprovedStep")
            .field("plan_id", self.plan_id())
            .field("index", &self.index)
            .field("preview", self.preview)
            .finish_non_exhaustive()
    }
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
        self.approved.steps(self.recheck).split_off(self.index + 1)
    }

    /// Asks whether the step may still be applied: the kill switch, the settings, the scope, policy with the time of now, and
    /// the time of the approval. It was asked right before [`apply`](crate::Executor::apply); an executor that waits or tries
    /// again asks before each request that writes.
    ///
    /// # Errors
    /// [`Withdrawn`]: no further request may be sent.
    pub async fn still_permitted(&self) -> Result<(), Withdrawn> {
        self.recheck.still_permitted(*self).await
    }

    pub(crate) async fn undo_still_permitted(&self) -> Result<(), Withdrawn> {
        self.recheck.undo_still_permitted(*self).await
    }

    pub(crate) fn approved(&self) -> &'a Approved {
        self.approved
    }
}
