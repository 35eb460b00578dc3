//! The packs of a running host become other packs, all at once.

use std::sync::{Arc, PoisonError, RwLock};

use argus_core::{Digest, Opinion, PolicyEngine, PolicyError, PolicyInput};
use async_trait::async_trait;

use crate::engine::RegoEngine;

/// A [`RegoEngine`] that a host can replace while it runs.
///
/// # Guarantees
/// Each evaluation is asked of one engine from beginning to end. What was approved under the old packs is stale under the
/// new ones.
///
/// # Example
/// ```
/// # use argus_core::PolicyEngine;
/// # use argus_policy::{PolicySwitch, RegoEngine};
/// let policy = PolicySwitch::new(RegoEngine::builtin()?);
/// // A clone goes to the remediator; this one stays with whoever watches the folder of packs.
/// let before = policy.revision();
/// let frozen = serde_json::json!({ "weekly": [{ "days": ["friday"], "from": "16:00", "to": "24:00", "reason": "the weekend begins" }] });
/// policy.replace(RegoEngine::builtin()?.with_parameters("change_freeze", frozen.as_object().unwrap())?);
/// assert_ne!(policy.revision(), before);
/// # Ok::<(), argus_policy::PackError>(())
/// ```
#[derive(Clone)]
pub struct PolicySwitch {
    engine: Arc<RwLock<Arc<RegoEngine>>>,
}

impl PolicySwitch {
    /// Begins with `engine`.
    #[must_use]
    pub fn new(engine: RegoEngine) -> Self {
        Self {
            engine: Arc::new(RwLock::new(Arc::new(engine))),
        }
    }

    /// Asks `engine` from now on. Packs that don't load never get here: [`RegoEngine::with_pack`] refuses them, and the old
    /// ones stay.
    pub fn replace(&self, engine: RegoEngine) {
        let mut slot = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        *slot = Arc::new(engine);
    }

    fn engine(&self) -> Arc<RegoEngine> {
        let slot = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&slot)
    }
}

#[async_trait]
impl PolicyEngine for PolicySwitch {
    async fn evaluate(&self, input: &PolicyInput) -> Result<Vec<Opinion>, PolicyError> {
        self.engine().evaluate(input).await
    }

    fn revision(&self) -> Digest {
        self.engine().revision()
    }
}
